"""A disk that is full before or during a training: one clear error, and the last good checkpoint stays."""

import contextlib
import errno
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from experiments import train_cnn
from experiments.config import TrainingError, UserError, cli, interrupts
from experiments.tracking.run import Tracker
from experiments.training import run as training
from tasks.disk import full_disk
from tasks.runs import StoreUnreachableError, readable_errors
from tests.support.runs import histories, only_run

pytestmark = pytest.mark.full

ARGUMENTS = ["--epochs", "3", "--train_size", "200", "--batch_size", "50", "--threads", "1"]


@contextlib.contextmanager
def mounted_disk(folder: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(store: Path) -> Iterator[Path]:
    """A small disk that the experiment `cnn` keeps its artifacts on."""
    with mounted_disk(store / "disk") as folder:
        MlflowClient().create_experiment("cnn", artifact_location=str(folder))
        yield folder


@pytest.fixture
def database_disk(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk with the store's database; the artifacts of the experiment `cnn` are elsewhere."""
    with mounted_disk(store / "disk") as folder:
        shutil.copy(store / "mlflow.db", folder)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        MlflowClient().create_experiment("cnn", artifact_location=str(store / "artifacts"))
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture
def _own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`cli.run` in this process: its handlers go when the test is over."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def at_epoch_2(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Do something before the second epoch is logged, and something when that has failed."""
    honest = Tracker.log_epoch

    def log_epoch(self: Tracker, epoch: int, metrics: dict[str, float]) -> None:
        if epoch != 2:
            honest(self, epoch, metrics)
            return
        before()
        try:
            honest(self, epoch, metrics)
        finally:
            after()

    monkeypatch.setattr(Tracker, "log_epoch", log_epoch)


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
        TrainingError,
        match=r"the checkpoint of epoch 2 cannot be written .*No space left .*epoch-0001.*; to resume: mlflow run ",
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


def test_a_full_disk_under_the_database_is_said_in_a_line_and_the_run_can_be_resumed(
    database_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        at_epoch_2(patch, lambda: fill(database_disk), lambda: None)
        with pytest.raises(TrainingError, match=r"^no space left on the disk") as caught:
            train_cnn.main(ARGUMENTS)
    run_id = only_run().info.run_id
    said = str(caught.value)
    assert "\n" not in said and "Traceback" not in capfd.readouterr().err
    assert f"run {run_id} stays RUNNING" in said and said.endswith(
        f"to resume: mlflow run . -e cnn --env-manager local -P resume={run_id}"
    )
    assert only_run().info.status == "RUNNING"

    (database_disk / "full").unlink()
    assert train_cnn.main(["--resume", run_id]) is not None
    assert only_run().info.status == "FINISHED"
    assert [step for step, _ in histories(run_id)["val_loss"]] == [1, 2, 3]


def test_when_there_is_room_again_at_the_end_the_run_says_why_it_failed(
    database_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_epoch_2(monkeypatch, lambda: fill(database_disk), (database_disk / "full").unlink)
    with pytest.raises(TrainingError, match=r"^no space left on the disk.*; to resume: mlflow run") as caught:
        train_cnn.main(ARGUMENTS)
    assert "stays RUNNING" not in str(caught.value)
    run = only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "MlflowException: no space left on the disk of MLflow's database"


def test_a_disk_that_is_full_when_the_training_is_done_costs_the_status_only(
    database_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = training.finish

    def finish(*arguments):
        result = honest(*arguments)
        fill(database_disk)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(training, "finish", finish)
        with pytest.raises(TrainingError, match=r"^all is done; run .* stays RUNNING.* no space left .*to resume: "):
            train_cnn.main(ARGUMENTS)
    (database_disk / "full").unlink()
    assert train_cnn.main(["--resume", only_run().info.run_id]) is not None
    assert only_run().info.status == "FINISHED"


@pytest.mark.usefixtures("_own_signals")
def test_a_full_disk_before_the_run_is_made_is_said_in_a_line(
    database_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(database_disk)
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: train_cnn.main(ARGUMENTS))
    assert ended.value.code == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: no space left on the disk")


def test_a_full_disk_is_known_in_every_disguise() -> None:
    copied = shutil.Error([("a", "b", f"[Errno {errno.ENOSPC}] No space left on device: 'b'")])
    for error in (OSError(errno.ENOSPC, "x", "file"), OSError(errno.EDQUOT, "x"), copied):
        wrapped = RuntimeError("wrapped")
        wrapped.__cause__ = error
        assert full_disk(error) and full_disk(wrapped)
        with pytest.raises(StoreUnreachableError, match="no space left"), readable_errors():
            raise error
    assert "(file)" in full_disk(OSError(errno.ENOSPC, "x", "file"))
    assert not full_disk(OSError(errno.EACCES, "x")) and not full_disk(None)
