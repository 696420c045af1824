"""The entry point `cnn`, called as a function on a few digits: what a run leaves behind, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import safetensors.torch
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from experiments import train_cnn
from experiments.config import ConfigError, TrainingError
from experiments.sources import DataError
from tests.killing import train_and_die

TINY = ["--epochs", "2", "--train_size", "200", "--batch_size", "50", "--threads", "1"]
EPOCH_METRICS = {
    "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_precision", "val_recall", "val_f1",
    "learning_rate", "epoch_seconds", "examples_per_second",
}  # fmt: skip
TEST_METRICS = {"test_ece", "test_loss", "test_accuracy", "test_precision", "test_recall", "test_f1"}
NOT_REPRODUCED = {"epoch_seconds", "examples_per_second"}


def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri or "")


def histories(run_id: str) -> dict[str, list[tuple[int, float]]]:
    """All metrics that a run must reproduce, as (step, value) in the order of logging."""
    client = MlflowClient()
    keys = [key for key in client.get_run(run_id).data.metrics if not key.startswith("system/")]
    return {
        key: [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]
        for key in keys
        if key not in NOT_REPRODUCED
    }


def weights(run_id: str, epoch: int) -> dict[str, torch.Tensor]:
    folder = artifacts(MlflowClient().get_run(run_id)) / "checkpoints" / f"epoch-{epoch:04d}"
    return safetensors.torch.load_file(folder / "model.safetensors")


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


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

    version = client.get_model_version_by_alias("cnn-digits", "champion")
    assert version.run_id == result.run_id and version.tags["task"] == "image-classification"
    model = client.get_logged_model(result.model_uri.removeprefix("models:/"))
    assert {metric.key for metric in model.metrics} >= TEST_METRICS
    assert not [path for path in Path(store).rglob("*") if path.suffix in (".pkl", ".pth", ".pt", ".bin")]


def test_the_loaded_champion_says_what_the_trained_network_said(store: Path) -> None:
    result = train_cnn.main(TINY)
    assert result is not None
    example = json.loads((artifacts_of_model(result.model_uri) / "input_example.json").read_text())
    model = mlflow.pyfunc.load_model("models:/cnn-digits@champion")
    answer = model.predict([example])[0]
    saved = np.load(artifacts(MlflowClient().get_run(result.run_id)) / "reports/test_predictions.npz")
    expected = saved["probabilities"][0]
    assert answer["label"] == str(expected.argmax())
    # Trained in bf16 where the machine has it, served in fp32.
    assert np.allclose([answer["scores"][str(digit)] for digit in range(10)], expected, atol=0.02)
    assert answer["model"] == "lenet5 on digits" and answer["seconds"] > 0


def artifacts_of_model(model_uri: str) -> Path:
    return Path(MlflowClient().get_logged_model(model_uri.removeprefix("models:/")).artifact_location)


def test_a_second_run_with_the_same_seed_is_the_same_and_does_not_dethrone_the_first(store: Path) -> None:
    first, second = train_cnn.main(TINY), train_cnn.main(TINY)
    assert first is not None and second is not None
    assert histories(first.run_id) == histories(second.run_id)
    assert_same_weights(weights(first.run_id, 2), weights(second.run_id, 2))
    champion = MlflowClient().get_model_version_by_alias("cnn-digits", "champion")
    assert champion.run_id == first.run_id
    assert "stays" in second.registry


def test_the_split_does_not_depend_on_the_seed(store: Path) -> None:
    results = [train_cnn.main([*TINY, "--epochs", "1", "--seed", seed, "--register", "no"]) for seed in ("1", "2")]
    runs = [MlflowClient().get_run(result.run_id) for result in results if result]
    assert runs[0].data.tags["split_sha256"] == runs[1].data.tags["split_sha256"]
    assert not MlflowClient().search_registered_models()


def test_parameters_that_mlflow_run_logged_as_text_are_left_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = MlflowClient().create_run("0")
    MlflowClient().log_param(launched.info.run_id, "learning_rate", "1e-3")
    monkeypatch.setenv("MLFLOW_RUN_ID", launched.info.run_id)
    result = train_cnn.main([*TINY, "--epochs", "1", "--learning_rate", "1e-3"])
    assert result is not None and result.run_id == launched.info.run_id
    run = MlflowClient().get_run(result.run_id)
    assert run.data.params["learning_rate"] == "1e-3" and run.data.params["batch_size"] == "50"


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["--batch_size", "2000"], ConfigError, "batch_size is 2000; valid: at most 1258"),
        (["--val_size", "1"], ConfigError, "val_size is 1; valid for this data set: 10 to "),
        (["--train_size", "5000"], ConfigError, "train_size is 5000; valid for this data set: 10 to 1258"),
        (["--device", "mps"], ConfigError, "device is 'mps', which this machine does not have; valid here: auto, "),
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
    assert not MlflowClient().search_runs([e.experiment_id for e in MlflowClient().search_experiments()])


def only_run() -> Run:
    experiments = [experiment.experiment_id for experiment in MlflowClient().search_experiments()]
    (run,) = MlflowClient().search_runs(experiments)
    return run


def test_a_diverging_run_is_marked_failed_and_keeps_its_last_good_checkpoint(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments import cnn_training

    honest = cnn_training.classification_step

    def poisoned(label_smoothing: float):
        step, calls = honest(label_smoothing), iter(range(1000))

        def poisoned_step(model, batch):
            result = step(model, batch)
            return result._replace(loss=result.loss * float("nan")) if next(calls) == 6 else result

        return poisoned_step

    monkeypatch.setattr(cnn_training, "classification_step", poisoned)
    with pytest.raises(TrainingError, match="the loss is nan in epoch 2, batch 3"):
        train_cnn.main([*TINY, "--epochs", "3"])
    run = only_run()
    assert run.info.status == "FAILED"
    assert "epoch 2, batch 3" in run.data.tags["error"]
    assert [path.name for path in (artifacts(run) / "checkpoints").glob("epoch-*")] == ["epoch-0001"]


# --- being killed and going on ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[dict, dict]:
    """Metrics and last weights of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        result = train_cnn.main([*TINY, "--epochs", "3"])
        assert result is not None
        outcome = histories(result.run_id), weights(result.run_id, 3)
        mlflow.set_tracking_uri(None)
    return outcome


@pytest.mark.parametrize(
    ("where", "epoch"),
    [("in an epoch", 1), ("in an epoch", 3), ("before logging", 2), ("after logging", 2), ("while testing", 3)],
)
def test_a_killed_run_goes_on_to_the_same_weights_and_metrics(
    where: str, epoch: int, store: Path, uninterrupted: tuple[dict, dict]
) -> None:
    assert train_and_die(where, epoch, [*TINY, "--epochs", "3"]) == -signal.SIGKILL
    run = only_run()
    assert run.info.status == "RUNNING"
    result = train_cnn.main(["--resume", run.info.run_id])
    assert result is not None and result.run_id == run.info.run_id
    assert only_run().info.status == "FINISHED"
    expected_metrics, expected_weights = uninterrupted
    assert histories(run.info.run_id) == expected_metrics
    assert_same_weights(weights(run.info.run_id, 3), expected_weights)


@pytest.fixture
def cut_off(store: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that failed after its third epoch of four."""
    from experiments import cnn_training

    class CutOffError(Exception):
        pass

    def cut(*_: object) -> None:
        raise CutOffError

    honest = cnn_training.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(
            cnn_training,
            "save_checkpoint",
            lambda training, tracker, epoch: cut() if epoch == 4 else honest(training, tracker, epoch),
        )
        with pytest.raises(CutOffError):
            train_cnn.main([*TINY, "--epochs", "4"])
    return only_run()


def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_is_used(
    cut_off: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    file = artifacts(cut_off) / "checkpoints/epoch-0003/model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    result = train_cnn.main(["--resume", cut_off.info.run_id])
    printed = capsys.readouterr()
    assert "epoch-0003/model.safetensors is damaged" in printed.err
    assert "going on after epoch 2" in printed.out
    uncut = train_cnn.main([*TINY, "--epochs", "4"])
    assert result is not None and uncut is not None
    assert histories(result.run_id) == histories(uncut.run_id)
    assert_same_weights(weights(result.run_id, 4), weights(uncut.run_id, 4))


def test_with_all_checkpoints_damaged_nothing_is_touched(cut_off: Run) -> None:
    for manifest in (artifacts(cut_off) / "checkpoints").glob("*/manifest.json"):
        manifest.write_text("{}")
    with pytest.raises(ConfigError, match=r"no checkpoint in .* can be used"):
        train_cnn.main(["--resume", cut_off.info.run_id])
    assert MlflowClient().get_run(cut_off.info.run_id).info.status == "FAILED"


def test_a_checkpoint_of_another_network_is_refused(cut_off: Run) -> None:
    path = artifacts(cut_off) / "config.json"
    path.write_text(path.read_text().replace('"lenet5"', '"resnet20"'))
    with pytest.raises(ConfigError, match="the checkpoint of epoch 3 is of another network"):
        train_cnn.main(["--resume", cut_off.info.run_id])


def test_resume_refuses_another_configuration_and_a_run_in_use(cut_off: Run) -> None:
    run_id = cut_off.info.run_id
    with pytest.raises(ConfigError, match=r"model is 'resnet20', and run .* was started with 'lenet5'"):
        train_cnn.main(["--resume", run_id, "--model", "resnet20"])
    with pytest.raises(ConfigError, match=r"epochs is 9, and run .* was started with 4"):
        train_cnn.main(["--resume", run_id, "--epochs", "9"])
    from experiments.resume import claim

    with claim(run_id), pytest.raises(ConfigError, match="is being trained by another process"):
        subprocess_main(["--resume", run_id])
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def subprocess_main(arguments: list[str]) -> None:
    """Run the program in a process of its own and raise what it printed as an error."""
    command = [sys.executable, "-m", "experiments.train_cnn", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    raise ConfigError(result.stderr)


def test_resume_refuses_a_finished_run_and_one_of_another_program(store: Path) -> None:
    result = train_cnn.main([*TINY, "--epochs", "1", "--register", "no"])
    assert result is not None
    with pytest.raises(ConfigError, match="is FINISHED"):
        train_cnn.main(["--resume", result.run_id])
    foreign = MlflowClient().create_run("0").info.run_id
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        train_cnn.main(["--resume", foreign])


def test_resumed_by_mlflow_run_the_wrapper_points_to_the_run(cut_off: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", wrapper)
    declared_defaults = ["--model", "lenet5", "--dataset", "digits", "--seed", "0", "--data_dir", "data"]
    result = train_cnn.main([*declared_defaults, "--resume", cut_off.info.run_id])
    assert result is not None and result.run_id == cut_off.info.run_id
    assert MlflowClient().get_run(wrapper).data.tags["resumed_run"] == cut_off.info.run_id
