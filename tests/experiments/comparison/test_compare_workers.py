"""Several workers on one comparison: each cell is trained once, and the cell of a worker that died is taken over."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.engine import make_url

from experiments.comparison import run
from experiments.config import TrainingError
from experiments.tuning.grid import CELL, CellQueue, shared_grid
from experiments.tuning.storage import study_lock
from tests.support.runs import all_runs, children

CELLS = [f"cell {number}" for number in range(12)]


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[list[CellQueue]]:
    """Two workers on one queue."""
    with shared_grid("auto", "0" * 64, tmp_path) as one, shared_grid("auto", "0" * 64, tmp_path) as other:
        yield [CellQueue(*opened, "run") for opened in (one, other)]


def test_two_workers_never_take_one_cell(queues: list[CellQueue]) -> None:
    for queue in queues:
        queue.offer(CELLS)
    trained: list[str] = []
    together = threading.Barrier(len(queues))

    def work(queue: CellQueue) -> None:
        together.wait()
        queue.work(lambda cell: not trained.append(cell))

    with ThreadPoolExecutor(len(queues)) as threads:
        list(threads.map(work, queues))
    assert sorted(trained) == sorted(CELLS)
    assert queues[0].others_are_done() and not queues[0]._in_state(TrialState.RUNNING, TrialState.WAITING)


def test_cells_are_taken_in_order_and_failed_ones_are_not_tried_again_at_once(queues: list[CellQueue]) -> None:
    one, other = queues
    one.offer(CELLS[:3])
    trained: list[str] = []
    one.work(lambda cell: trained.append(cell) is None and cell != CELLS[1])
    assert trained == CELLS[:3]
    other.work(lambda cell: not trained.append(cell))
    assert len(trained) == 3 and other.others_are_done()
    other.offer([CELLS[1]])  # the same command again
    other.work(lambda cell: not trained.append(cell))
    assert trained == [*CELLS[:3], CELLS[1]]


def test_a_cell_is_free_again_when_its_worker_is_stopped_or_dies(
    queues: list[CellQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = queues
    one.offer(CELLS[:2])

    def stopped(_: str) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.work(stopped)
    dead = one._take()
    assert dead is not None and dead.user_attrs[CELL] == CELLS[1]
    trained: list[str] = []
    other.work(lambda cell: not trained.append(cell))
    assert trained == CELLS[:1]
    monkeypatch.setattr(other._storage, "grace_period", -1)
    assert not other.others_are_done()
    other.work(lambda cell: not trained.append(cell))
    assert trained == CELLS[:2] and other.others_are_done()


def test_one_worker_owns_the_report(queues: list[CellQueue]) -> None:
    one, other = queues
    with one.ownership() as mine:
        assert mine
        with other.ownership() as theirs:
            assert not theirs
    with other.ownership() as mine:
        assert mine


def test_a_worker_says_that_it_waits_for_one_that_begins_the_comparison(
    queues: list[CellQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, said = ExitStack(), []
    assert other.enter_context(study_lock(queues[0]._url, "begin"))

    def say(text: str, **_: object) -> None:
        said.append(text)
        other.close()

    monkeypatch.setattr(run, "print", say, raising=False)
    for _ in range(2):  # the second time nobody has it
        with ExitStack() as mine:
            run._wait_for_turn(mine, queues[1]._url, "begin")
            with study_lock(queues[0]._url, "begin", wait=False) as theirs:
                assert not theirs
    assert said == ["waiting for another worker, which begins this comparison"]


@pytest.mark.parametrize(
    ("status", "storage", "warned"),
    [("RUNNING", "elsewhere.db", True), ("RUNNING", "here.db", False), ("KILLED", "elsewhere.db", False)],
)
def test_a_comparison_that_may_be_at_work_with_another_storage_is_said(
    status: str, storage: str, warned: bool, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    parent = client.create_run("0").info.run_id
    client.log_param(parent, "storage", storage)
    client.update_run(parent, status=status)
    run._warn_of_other_storage(parent, "here.db")
    expected = f"warning: run {parent} is RUNNING, and was begun with the storage elsewhere.db, not here.db: "
    assert capsys.readouterr().err.startswith(expected) == warned


def test_two_folders_have_two_queues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with shared_grid("auto", "0" * 64, Path()) as (url, storage):  # as behind a server
        assert CellQueue(url, storage, "run").place == str(tmp_path / "studies" / f"compare-{'0' * 16}.db")


def test_a_database_that_stops_answering_is_said_without_its_password(queues: list[CellQueue], tmp_path: Path) -> None:
    url = make_url("postgresql://ada:secret@host/studies?sslpassword=secret")
    assert CellQueue(url, queues[0]._storage, "run").place == "postgresql://ada:***@host/studies"
    expected = r"^the storage .*\.db does not answer: the disk is gone; the same command resumes$"
    with pytest.raises(TrainingError, match=expected), shared_grid("auto", "1" * 64, tmp_path):
        raise StorageInternalError from OSError("the disk is gone")


COMMAND = [sys.executable, "-m", "experiments.compare", "--models", "lenet5,resnet20", "--seeds", "2", "--epochs", "2"]
COMMAND += ["--train_size", "200", "--threads", "1", "--register", "no"]


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.full
def test_two_processes_share_a_grid_and_the_second_ends_it_when_the_first_is_killed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Signs of life that are missed soon, in the processes, too.
    quick = "from experiments.tuning import storage; storage.HEARTBEAT, storage.GRACE = 1, 4"
    (store / "sitecustomize.py").write_text(f"import sys\nif 'experiments.compare' in sys.orig_argv:\n    {quick}\n")
    monkeypatch.setenv("PYTHONPATH", f"{store}{os.pathsep}{os.environ['PYTHONPATH']}")
    first = start()
    while not any("grid" in run.data.tags for run in all_runs()):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    (parent,) = (run.info.run_id for run in all_runs() if "grid" in run.data.tags)
    while not any(run.data.metrics.get("val_loss") for run in children(parent)):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    second = start()
    assert second.stdout is not None
    while "joining the comparison" not in (line := second.stdout.readline()):
        assert line, "the second ended without joining"
    first.send_signal(signal.SIGKILL)
    said = second.communicate(timeout=240)[0]
    assert second.returncode == 0, said
    finished = [run for run in children(parent) if run.info.status == "FINISHED"]
    cells = {(run.data.tags["model"], run.data.params["seed"]) for run in finished}
    assert len(finished) == len(cells) == 4, said
    assert [run.info.status for run in all_runs() if run.info.run_id == parent] == ["FINISHED"]
