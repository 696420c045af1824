"""The registry: who becomes champion, and that a pickle slipped into the store is refused and runs nothing."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import models
from tasks import registry
from tasks.image_classification import ClassifierConfig, save_classifier
from tasks.runs import open_store

NAME = "cnn-digits"
CLASSES = tuple("0123456789")


@pytest.fixture
def registered(store: Path):
    """A function that registers an untrained network with the given validation accuracy, as a training would."""
    experiment = mlflow.create_experiment("test", artifact_location=str(store / "artifacts"))

    def register(val_accuracy: float, data: str = "d", split: str = "s") -> tuple[str, str]:
        folder = store / "model"
        save_classifier(
            folder,
            models.build("lenet5", 10, 1),
            ClassifierConfig("lenet5", "small", 1, CLASSES, (0.1,), (0.3,)),
        )
        with mlflow.start_run(experiment_id=experiment):
            info = registry.package("model", "image-classification", folder, "lenet5 on digits")
        tags = {
            "task": "image-classification",
            "val_accuracy": repr(val_accuracy),
            "data_sha256": data,
            "split_sha256": split,
        }
        version = registry.register(info.model_uri, NAME, tags)
        contender = registry.Contender("val_accuracy", val_accuracy, data, split)
        return str(version.version), registry.promote_if_better(NAME, version.version, contender)

    return register


def champion() -> str:
    version = registry.champion(NAME)
    assert version is not None
    return str(version.version)


def test_the_first_version_becomes_champion_and_only_a_better_one_follows_it(registered) -> None:
    first, _ = registered(0.9)
    assert champion() == first
    _, worse = registered(0.8)
    assert champion() == first and "stays" in worse
    _, tie = registered(0.9)
    assert champion() == first and "stays" in tie
    better, decision = registered(0.95)
    assert champion() == better and "becomes champion" in decision


@pytest.mark.parametrize(("data", "split"), [("other", "s"), ("d", "other")])
def test_accuracies_on_other_data_do_not_count(registered, data: str, split: str) -> None:
    first, _ = registered(0.5)
    _, decision = registered(0.99, data, split)
    assert champion() == first and "other data" in decision


def test_without_a_registered_model_there_is_no_champion(store: Path) -> None:
    assert registry.champion("cnn-nothing") is None


def test_parameters_of_the_run_are_not_touched_by_packaging(registered) -> None:
    registered(0.9)
    (run,) = MlflowClient().search_runs([e.experiment_id for e in MlflowClient().search_experiments()])
    assert run.data.params == {}


class WritesAMarker(mlflow.pyfunc.PythonModel):
    """A model whose unpickling leaves a file behind."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (Path(self.marker),))

    def predict(self, context, model_input, params=None):  # noqa: ARG002
        return model_input


@pytest.mark.filterwarnings("ignore")
def test_a_pickled_model_in_the_place_of_ours_is_refused_and_runs_nothing(
    registered, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(0.9)
    marker = store / "ran"
    with mlflow.start_run():
        evil = mlflow.pyfunc.log_model(name="model", python_model=WritesAMarker(str(marker)), pip_requirements=[])
    marker.unlink(missing_ok=True)  # logging a model reads it back
    version = registry.register(evil.model_uri, NAME, {"task": "image-classification"})
    registry.promote(NAME, version.version)
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    open_store()
    with pytest.raises(MlflowException, match="pickle is disallowed"):
        mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert not marker.exists()


def test_a_pickle_in_the_place_of_the_weights_is_refused_and_runs_nothing(registered, store: Path) -> None:
    import pickle

    registered(0.9)
    marker = store / "ran"
    (weights,) = (store / "artifacts").rglob("artifacts/model/model.safetensors")
    weights.write_bytes(pickle.dumps(WritesAMarker(str(marker))))
    with pytest.raises(Exception, match="does not hold this network's weights"):
        mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    assert not marker.exists()
