"""The entry point `cnn`, called as a function on a few digits: what a run leaves behind, and what it refuses."""

import json
from pathlib import Path
from urllib.parse import quote

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from experiments import train_cnn
from experiments.config import ConfigError, TrainingError
from experiments.data.images import load_images
from experiments.data.sources import DataError
from experiments.tracking import run as tracking
from experiments.tracking.store import artifact_path, store_folder
from tasks.runs import open_store
from tests.support.runs import TINY, all_runs, artifacts, assert_same_weights, histories, only_run, weights

EPOCH_METRICS = {
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_precision",
    "val_recall",
    "val_f1",
    "learning_rate",
    "epoch_seconds",
    "examples_per_second",
}
TEST_METRICS = {"test_ece", "test_loss", "test_accuracy", "test_precision", "test_recall", "test_f1"}


@pytest.mark.figures
def test_a_run_leaves_behind_all_that_the_contract_names(store: Path) -> None:
    result = train_cnn.main([*TINY, "--seed", "7"])
    assert result is not None
    client = MlflowClient()
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "lenet5 on digits, seed 7"
    assert run.data.params["seed"] == "7" and run.data.params["learning_rate"] != "None"
    assert "auto" not in run.data.params.values()
    for tag in ("model", "dataset", "git_commit", "data_sha256", "split_sha256", "device_name", "hardware"):
        assert run.data.tags[tag]
    assert run.data.tags["data_verified"] == "true"
    assert run.data.tags["split_sha256"] == load_images("digits", train_size=200).split_sha256  # whatever the seed
    assert "test accuracy" in run.data.tags["mlflow.note.content"]
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"

    logged = histories(result.run_id)
    assert set(run.data.metrics) >= EPOCH_METRICS | TEST_METRICS
    assert [step for step, _ in logged["val_accuracy"]] == [1, 2]
    assert logged["test_accuracy"] == [(result.best_epoch, result.metrics["test_accuracy"])]

    folder = artifacts(run)
    figures = {path.name for path in (folder / "plots").iterdir()}
    assert {"loss_curve.png", "accuracy_curve.png", "confusion_matrix.png", "per_class.png", "mistakes.png"} <= figures
    assert {"grad_cam.png", "filters.png", "calibration.png"} <= figures
    assert json.loads((folder / "config.json").read_text())["model"] == "lenet5"
    report = json.loads((folder / "reports/classification_report.json").read_text())
    assert report["accuracy"] == pytest.approx(result.metrics["test_accuracy"])
    saved = np.load(folder / "reports/test_predictions.npz")
    assert (saved["probabilities"].argmax(1) == saved["labels"]).mean() == pytest.approx(report["accuracy"])

    kept = np.load(folder / "reports/test_mistakes.npz")
    assert len(kept["index"]) and kept["pixels"].shape == (len(kept["index"]), 32, 32, 1)
    assert (saved["probabilities"][kept["index"]].argmax(1) != saved["labels"][kept["index"]]).all()

    version = client.get_model_version_by_alias("cnn-digits", "champion")
    assert version.run_id == result.run_id and version.tags["task"] == "image-classification"
    model = client.get_logged_model(result.model_uri.removeprefix("models:/"))
    assert {metric.key for metric in model.metrics} >= TEST_METRICS
    assert not [path for path in Path(store).rglob("*") if path.suffix in (".pkl", ".pth", ".pt", ".bin")]

    # The champion says what the trained network said.
    given = json.loads((Path(model.artifact_location) / "input_example.json").read_text())
    loaded = mlflow.pyfunc.load_model("models:/cnn-digits@champion")
    [answer] = loaded.predict([dict(zip(given["columns"], given["data"][0], strict=True))])
    expected = saved["probabilities"][0]
    assert answer["label"] == str(expected.argmax())
    # Trained in bf16 where the machine has it, served in fp32.
    assert np.allclose([answer["scores"][str(digit)] for digit in range(10)], expected, atol=0.02)
    assert answer["model"] == "lenet5 on digits" and answer["seconds"] > 0


def test_a_second_run_with_the_same_seed_is_the_same_and_does_not_dethrone_the_first(store: Path) -> None:
    first, second = train_cnn.main(TINY), train_cnn.main(TINY)
    assert first is not None and second is not None
    assert histories(first.run_id) == histories(second.run_id)
    assert_same_weights(weights(first.run_id, 2), weights(second.run_id, 2))
    champion = MlflowClient().get_model_version_by_alias("cnn-digits", "champion")
    assert champion.run_id == first.run_id
    assert "stays" in second.registry


def test_parameters_that_mlflow_run_logged_as_text_are_left_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = MlflowClient().create_run("0")
    MlflowClient().log_param(launched.info.run_id, "learning_rate", "1e-3")
    monkeypatch.setenv("MLFLOW_RUN_ID", launched.info.run_id)
    result = train_cnn.main([*TINY, "--epochs", "1", "--learning_rate", "1e-3", "--register", "no"])
    assert result is not None and result.run_id == launched.info.run_id
    run = MlflowClient().get_run(result.run_id)
    assert run.data.params["learning_rate"] == "1e-3" and run.data.params["batch_size"] == "50"
    assert not MlflowClient().search_registered_models()


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["--batch_size", "2000"], ConfigError, "batch_size is 2000; valid: at most 1258"),
        (["--val_size", "1"], ConfigError, "val_size is 1; valid for this data set: 10 to "),
        (["--train_size", "5000"], ConfigError, "train_size is 5000; valid for this data set: 10 to 1258"),
        (["--device", "mps"], ConfigError, "device is 'mps'; valid on this machine: auto, "),
        (["--device", "cpu", "--precision", "fp16"], ConfigError, "precision is 'fp16', .*valid on cpu"),
        (["--resume", "0123"], ConfigError, "resume is '0123', and there is no such run in sqlite"),
        (["--dataset", "mnist", "--data_dir", "here"], DataError, "here/MNIST/raw/.*dataset=digits"),
    ],
)
def test_what_cannot_work_is_refused_before_any_run_is_made(
    arguments: list[str], error: type[Exception], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(error, match=expected):
        train_cnn.main(arguments)
    assert not all_runs()


def test_a_diverging_run_is_marked_failed_and_keeps_its_last_good_checkpoint(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.cnn import setup

    honest, calls = setup.classification_step, iter(range(1000))

    def poisoned(*arguments):
        result = honest(*arguments)
        return result._replace(loss=result.loss * float("nan")) if next(calls) == 6 else result

    monkeypatch.setattr(setup, "classification_step", poisoned)
    with pytest.raises(TrainingError, match="the loss is nan in epoch 2, batch 3"):
        train_cnn.main([*TINY, "--epochs", "3"])
    run = only_run()
    assert run.info.status == "FAILED"
    assert "epoch 2, batch 3" in run.data.tags["error"]
    assert [path.name for path in (artifacts(run) / "checkpoints").glob("epoch-*")] == ["epoch-0001"]


@pytest.mark.parametrize("variable", [None, "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"])
def test_a_deleted_experiment_is_one_clear_error(
    variable: str | None, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, name = MlflowClient(), "other" if variable else "cnn"
    number = client.create_experiment(name)
    client.delete_experiment(number)
    if variable:
        monkeypatch.setenv(variable, number if variable.endswith("ID") else name)
    expected = f"the experiment '{name}' is deleted; .* mlflow experiments restore --experiment-id {number}$"
    for begin in (lambda: train_cnn.main(TINY), lambda: tracking.shared_run("cnn")):
        with pytest.raises(ConfigError, match=expected):
            begin()
    client.restore_experiment(number)
    assert tracking.shared_run("cnn").client.get_experiment(number).lifecycle_stage == "active"
    assert len(client.search_runs([number])) == 1


def test_a_folder_with_blanks_signs_and_other_letters_is_a_folder(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "My Projects ü"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(home)
    mlflow.set_tracking_uri(f"sqlite:///{quote(str(home / 'mlflow.db'))}")
    client = open_store()
    # As MLflow's server and its command line write the places of experiments.
    client.create_experiment("elsewhere", artifact_location=(home / "kept here").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    result = train_cnn.main([*TINY, "--register", "false"])
    assert result is not None
    folder = home / "kept here" / result.run_id / "artifacts"
    assert (folder / "checkpoints" / "epoch-0002" / "model.safetensors").is_file()
    assert artifact_path(result.run_id, "config.json") == f"{folder}/config.json" and (folder / "config.json").is_file()
    assert store_folder() == home and (home / ".mlflow-store.lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
    mlflow.set_tracking_uri(None)
