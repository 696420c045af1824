"""The registry: who becomes champion, and that a pickle slipped into the store is refused and runs nothing."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModelAlias
from sqlalchemy import event
from sqlalchemy.orm import Session

import models
from tasks import registry
from tasks.base import ModelFolderError
from tasks.image_classification import ClassifierConfig
from tasks.runs import StoreUnreachableError, open_store
from tasks.trained import save_network

NAME = "cnn-digits"
CLASSES = tuple("0123456789")


@pytest.fixture
def registered(store: Path):
    """A function that registers an untrained network with the given validation accuracy, as a training would."""
    experiment = mlflow.create_experiment("test", artifact_location=str(store / "artifacts"))

    def register(val_accuracy: float, data: str = "d", split: str = "s") -> tuple[str, str]:
        folder = store / "model"
        save_network(
            folder, models.build("lenet5", 10, 1), ClassifierConfig("lenet5", "small", 1, CLASSES, (0.1,), (0.3,))
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
        return str(version.version), registry.promote_if_better(NAME, version.version, "val_accuracy")

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


def test_two_promoters_that_set_the_first_champion_at_once_both_succeed(store: Path) -> None:
    """Both insert the row of the alias, and the database refuses one of them."""
    client, together = MlflowClient(), threading.Barrier(2)
    client.create_registered_model(NAME)
    run = client.create_run("0").info.run_id
    for value in ("0.8", "0.9"):
        tags = {"val_accuracy": value, "data_sha256": "d", "split_sha256": "s"}
        client.create_model_version(NAME, f"runs:/{run}/model", run, tags=tags)

    def before_flush(session: Session, *_: object) -> None:
        if any(isinstance(row, SqlRegisteredModelAlias) for row in session.new):
            together.wait(30)

    event.listen(Session, "before_flush", before_flush)
    try:
        with ThreadPoolExecutor(2) as pool:
            decisions = list(pool.map(lambda number: registry.promote_if_better(NAME, number, "val_accuracy"), (1, 2)))
    finally:
        event.remove(Session, "before_flush", before_flush)
    assert champion() == "2" and together.n_waiting == 0
    assert decisions[1] == f"{NAME} version 2 is the first and becomes champion", decisions


def test_without_a_registered_model_there_is_no_champion(store: Path) -> None:
    assert registry.champion("cnn-nothing") is None


def test_a_registry_that_does_not_answer_decides_nothing(registered, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = registered(0.9)

    def away(*_: object) -> None:
        raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "get_model_version_by_alias", away)
        for ask in (lambda: registered(0.8), lambda: registry.champion(NAME), lambda: registry.find(NAME)):
            with pytest.raises(MlflowException, match="database is locked"):
                ask()
        with pytest.raises(StoreUnreachableError, match="database is locked"):
            registry.load(NAME)
    assert champion() == first


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


def test_versions_are_listed_with_the_champion_first_and_found_by_every_kind_of_reference(registered) -> None:
    first, _ = registered(0.9)
    second, _ = registered(0.8)
    listed = registry.versions()
    assert [(one.name, str(one.version), one.champion) for one in listed] == [
        (NAME, first, True),
        (NAME, second, False),
    ]
    assert registry.versions("image-classification") == listed
    assert registry.versions("chatbot") == []
    for reference in (NAME, f"{NAME}@champion", f"{NAME}/{first}"):
        assert registry.find(reference).key == f"{NAME}/{first}" and registry.find(reference).champion
    assert not registry.find(f"{NAME}/{second}").champion
    assert registry.find(NAME).tags["val_accuracy"] == "0.9"


@pytest.mark.parametrize(
    "reference", ["nothing", "cnn-digits/7", "cnn-digits@best", "../x", "a/b/c", "", "x@y@z", "é/1"]
)
def test_what_is_not_registered_is_said_with_what_is(registered, reference: str) -> None:
    registered(0.9)
    with pytest.raises(registry.ModelNotFoundError, match=r"registered: cnn-digits|valid: name, name@alias"):
        registry.find(reference)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("reference", ["x" * 200, "x\n\x1b[31m"])
def test_a_reference_is_said_again_in_one_short_line(reference: str) -> None:
    with pytest.raises(registry.ModelNotFoundError) as caught:
        registry.find(reference)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 130


def test_an_empty_registry_lists_nothing(store: Path) -> None:
    assert registry.versions() == []
    with pytest.raises(registry.ModelNotFoundError, match="nothing is registered yet"):
        registry.find("cnn-digits")


def test_a_loaded_version_answers(registered) -> None:
    registered(0.9)
    task = registry.load(NAME, "cpu")
    (answer,) = task.run([{"image": [[0] * 8] * 8}])
    assert answer["model"] == "lenet5 on digits" and answer["label"] in CLASSES


def test_a_version_that_is_tagged_with_another_task_than_its_files_is_refused(registered, store: Path) -> None:
    registered(0.9)
    MlflowClient().set_model_version_tag(NAME, "1", "task", "chatbot")
    with pytest.raises(ModelFolderError, match="tagged chatbot, but its files are for image-classification"):
        registry.load(f"{NAME}/1")


def test_a_version_whose_files_are_gone_says_so(registered, store: Path) -> None:
    registered(0.9)
    shutil.rmtree(store / "artifacts")
    with pytest.raises(ModelFolderError, match="cnn-digits/1"):
        registry.load(NAME)


@pytest.mark.parametrize("path", ["../../../../elsewhere", "/etc"])
def test_a_version_that_points_out_of_its_own_files_is_refused(registered, store: Path, path: str) -> None:
    registered(0.9)
    (description,) = (store / "artifacts").rglob("MLmodel")
    description.write_text(description.read_text().replace("path: artifacts/model", f"path: {path}"))
    with pytest.raises(ModelFolderError, match="names a folder outside of its own files"):
        registry.load(NAME)


def test_a_model_that_another_program_logged_is_refused_readably(registered, store: Path) -> None:
    registered(0.9)
    (description,) = (store / "artifacts").rglob("MLmodel")
    description.write_text("flavors: {sklearn: {}}")
    with pytest.raises(ModelFolderError, match="was not packaged by this project"):
        registry.load(NAME)


def test_more_versions_than_a_page_holds_are_all_listed(registered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.registry.registered.PAGE", 2)
    registered(0.9)
    source = registry.find(NAME).source
    for name in ("a", "b", "c"):
        registry.register(source, name, {"task": "image-classification"})
        registry.promote(name, 1)
    assert {one.name for one in registry.versions() if one.champion} == {NAME, "a", "b", "c"}
