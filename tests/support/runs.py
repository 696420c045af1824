"""What several tests of the entry point `cnn` need: tiny arguments, and readers of what a run left behind."""

from pathlib import Path

import safetensors.torch
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

TINY = ["--epochs", "2", "--train_size", "200", "--batch_size", "50", "--threads", "1"]
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


def only_run() -> Run:
    experiments = [experiment.experiment_id for experiment in MlflowClient().search_experiments()]
    (run,) = MlflowClient().search_runs(experiments)
    return run
