"""What tests of programs share: tiny arguments, readers of what runs left behind."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
import safetensors.torch
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

TINY = ["--epochs", "2", "--train_size", "200", "--batch_size", "50", "--threads", "1"]
NOT_REPRODUCED = {"epoch_seconds", "examples_per_second"}


@contextmanager
def cut_off_at(epoch: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training within fails at the end of an epoch, before its checkpoint is written."""
    from experiments.training import run as training

    honest = training.save_checkpoint

    def save(prepared: Any, tracker: Any, number: int) -> None:
        if number == epoch:
            raise RuntimeError("cut off")
        honest(prepared, tracker, number)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save)
        with pytest.raises(RuntimeError, match="cut off"):
            yield


def artifacts(run: Run) -> Path:
    return Path(run.info.artifact_uri or "")


def reports(run_id: str) -> Path:
    """The folder of a run's reports."""
    return artifacts(MlflowClient().get_run(run_id)) / "reports"


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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


def only_run() -> Run:
    (run,) = all_runs()
    return run


def all_runs() -> list[Run]:
    """Every run in the store."""
    client = MlflowClient()
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def children(parent: str) -> list[Run]:
    """The runs nested under another."""
    return [run for run in all_runs() if run.data.tags.get("mlflow.parentRunId") == parent]


def uninterrupted(main: Callable[[list[str]], Any], arguments: list[str], folder: Path, empty_store: Path) -> tuple:
    """Metrics and last weights of a run that nothing happens to, in a store of its own."""
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        result = main(arguments)
        outcome = histories(result.run_id), weights(result.run_id, len(histories(result.run_id)["val_loss"]))
        mlflow.set_tracking_uri(None)
    return outcome
