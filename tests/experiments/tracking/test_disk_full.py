"""A disk that is full before or during a training: one clear error, and the last good checkpoint stays."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments import train_cnn
from experiments.config import TrainingError, UserError
from experiments.training import run as training

ARGUMENTS = ["--epochs", "3", "--train_size", "200", "--batch_size", "50", "--threads", "1"]


@pytest.fixture
def small_disk(store: Path) -> Iterator[Path]:
    """A disk of 6 MB that the experiment `cnn` keeps its artifacts on."""
    folder = store / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    MlflowClient().create_experiment("cnn", artifact_location=str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Write until nothing fits any more, then give back so many bytes."""
    file = folder / "full"
    stream = file.open("wb", buffering=0)
    with stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass
    with file.open("r+b") as stream:
        stream.truncate(max(0, file.stat().st_size - leave))


def test_a_full_disk_is_noticed_before_a_run_is_made(small_disk: Path) -> None:
    fill(small_disk, leave=100_000)
    with pytest.raises(UserError, match=r"MB free, and the checkpoints need .* MB"):
        train_cnn.main(ARGUMENTS)
    experiment = MlflowClient().get_experiment_by_name("cnn")
    assert experiment is not None and not MlflowClient().search_runs([experiment.experiment_id])


def test_a_disk_that_fills_up_fails_the_run_and_keeps_the_last_good_checkpoint(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = training.save_checkpoint

    def save(prepared, tracker, epoch: int) -> None:
        if epoch == 2:
            fill(small_disk)
        honest(prepared, tracker, epoch)

    monkeypatch.setattr(training, "save_checkpoint", save)
    with pytest.raises(
        TrainingError, match=r"the checkpoint of epoch 2 cannot be written .*No space left .*epoch-0001"
    ):
        train_cnn.main(ARGUMENTS)
    experiment = MlflowClient().get_experiment_by_name("cnn")
    assert experiment is not None
    (run,) = MlflowClient().search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED" and "No space left" in run.data.tags["error"]

    monkeypatch.setattr(training, "save_checkpoint", honest)
    (small_disk / "full").unlink()
    result = train_cnn.main(["--resume", run.info.run_id])
    assert result is not None and MlflowClient().get_run(run.info.run_id).info.status == "FINISHED"
