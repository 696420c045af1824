"""The worker's memory: the longest unused models go, the budget is kept and really returned; and how a worker ends."""

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from tasks.base import Row, Task, TaskInputError
from tasks.runtime.jobs import JobCancelled
from tasks.runtime.loaded import Expected, ModelTooLargeError
from tasks.runtime.memory import DeviceFullError, is_full
from tasks.runtime.rows import RequestTask, work
from tasks.runtime.worker import Worker
from tests.conftest import PROJECT_ROOT
from tests.support.words import MB, PATIENCE, Loads, Words, text, until

ROW = {"text": "x"}


@pytest.fixture
def loads() -> Loads:
    return Loads()


def expected(key: str) -> Expected:
    """What `Loads` will make of a key."""
    return Expected(int(key.split("-")[1]) * MB, key.split("/")[0] if "/" in key else "")


def ask(worker: Worker, *keys: str, row: Row = ROW) -> list[str]:
    """Ask the models one after another; returns which are loaded then."""
    for key in keys:
        text(worker.submit(key, row))
    return list(worker.statistics().loaded)


@pytest.mark.parametrize("known", [True, False])
def test_the_model_that_nobody_used_for_longest_goes_first(loads: Loads, known: bool) -> None:
    with Worker(loads, 100 * MB, expected if known else lambda _key: Expected()) as worker:
        assert ask(worker, "a-40", "b-30", "c-30") == ["a-40", "b-30", "c-30"]
        assert ask(worker, "a-40") == ["b-30", "c-30", "a-40"]
        assert ask(worker, "d-30") == ["c-30", "a-40", "d-30"]
        assert ask(worker, "e-60") == ["d-30", "e-60"]
        assert ask(worker, "f-100") == ["f-100"]
        assert worker.statistics().bytes == worker.statistics().budget_bytes == 100 * MB
        assert loads.keys == ["a-40", "b-30", "c-30", "d-30", "e-60", "f-100"]
        gc.collect()
        assert len(loads.tasks) == 1


@pytest.mark.parametrize("in_gateway", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_weights_behind_several_tasks_count_once(loads: Loads, in_gateway: bool, known: bool) -> None:
    shared = object()
    row = work([ROW], many=False) if in_gateway else ROW

    def load(key: str) -> Task:
        task = loads(key)
        if key.startswith("shared"):
            task.engine = shared  # type: ignore[attr-defined]
        return RequestTask(task) if in_gateway else task

    with Worker(load, 100 * MB, expected if known else lambda _key: Expected()) as worker:
        for _ in range(2):
            assert len(ask(worker, "own-40", "shared/1-60", "shared/2-60", row=row)) == 3
        assert worker.statistics().bytes == 100 * MB and len(loads.keys) == 3
        ask(worker, "own-40", row=row)
        assert ask(worker, "other-40", row=row) == ["own-40", "other-40"]


def test_room_is_made_before_a_model_of_known_size_is_loaded(loads: Loads) -> None:
    seen: list[list[str]] = []

    def load(key: str) -> Task:
        seen.append(list(worker.statistics().loaded))
        return loads(key)

    with Worker(load, 100 * MB, expected) as worker:
        ask(worker, "a-60", "b-40", "c-50")
        assert seen == [[], ["a-60"], ["b-40"]]


@pytest.mark.parametrize("known", [True, False])
def test_a_model_over_the_whole_budget_is_refused_naming_both(loads: Loads, known: bool) -> None:
    with Worker(loads, 2500 * MB, lambda _key: Expected(4200 * MB if known else None)) as worker:
        job = worker.submit("big-4200", {"text": "x"})
        with pytest.raises(ModelTooLargeError, match=r"big-4200 needs 4\.20 GB .* the 2\.50 GB that models may take"):
            job.result(PATIENCE)
        assert loads.keys == ([] if known else ["big-4200"])
        assert worker.statistics().bytes == 0


class Weights(Words):
    """A model with real tensors: one large piece, and many small ones, which the C library would keep."""

    def load(self) -> None:
        large = torch.nn.Parameter(torch.ones(25 * MB // 4), requires_grad=False)
        small = [torch.nn.Parameter(torch.ones(8 * 1024), requires_grad=False) for _ in range(25 * MB // (32 * 1024))]
        self.network = torch.nn.Module()
        self.network.weights = torch.nn.ParameterList([large, *small])

    def memory_bytes(self) -> int:
        return Task.memory_bytes(self)


def test_twenty_models_in_turn_keep_the_process_within_the_budget() -> None:
    def load(key: str) -> Task:
        task = Weights(Path(), key)
        task.load()
        return task

    process = psutil.Process()
    budget = 160 * MB
    with Worker(load, budget, lambda _key: Expected(50 * MB)) as worker:
        gc.collect()
        before, most = process.memory_info().rss, 0
        for number in range(20):
            # One in three fails: an error must not keep its model alive.
            job = worker.submit(f"m{number}", {"text": "fail" if number % 3 == 0 else "x"})
            with pytest.raises(RuntimeError) if number % 3 == 0 else memory_of(worker, budget):
                job.result(PATIENCE)
            most = max(most, process.memory_info().rss)
        assert len(worker.statistics().loaded) == 3
        assert 100 * MB < most - before < budget + 40 * MB
    assert process.memory_info().rss - before < 30 * MB


class memory_of:  # noqa: N801
    """Checks after its block that the worker counts no more than the budget."""

    def __init__(self, worker: Worker, budget: int) -> None:
        self.worker, self.budget = worker, budget

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        assert 45 * MB < self.worker.statistics().bytes <= self.budget


def test_the_error_of_a_job_does_not_keep_its_model_alive(loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    with Worker(loads, 100 * MB) as worker:
        jobs = [worker.submit("a", {"text": "fail"}), worker.submit("a", {})]
        for job in jobs:
            with pytest.raises((RuntimeError, TaskInputError)):
                job.result(PATIENCE)
        [record] = caplog.records  # what failed is logged with its trace, a wrong input is not
        assert "the job for a failed" in record.getMessage()
        assert 'RuntimeError("the device is out of memory")' in record.getMessage()
        assert ask(worker, "b-100") == ["b-100"]
        gc.collect()
        assert [task.model_name for task in loads.tasks] == ["b-100"]


def test_a_full_device_is_told_from_other_failures() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_full(caught.value) and is_full(torch.OutOfMemoryError("CUDA out of memory")) and is_full(MemoryError())
    assert not is_full(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) and not is_full(OSError("full"))
    texts = ("could not create a primitive", "std::bad_alloc", "CUDNN_STATUS_ALLOC_FAILED", "Invalid buffer size: 9 GB")
    for said in texts:
        assert is_full(RuntimeError(said))


@pytest.mark.parametrize("others", [True, False])
def test_a_device_without_room_for_a_model_is_emptied_of_the_others(loads: Loads, others: bool) -> None:
    def load(key: str) -> Task:
        if key == "large" and (worker.statistics().loaded or not others):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loads(key)

    with Worker(load, 100 * MB) as worker:
        if others:
            assert ask(worker, "a-10", "b-10", "large") == ["large"]
        else:
            with pytest.raises(DeviceFullError, match="large needs more memory than the device has"):
                ask(worker, "large")
            assert ask(worker, "a-10") == ["a-10"]


def test_a_device_that_fills_up_in_an_answer_is_emptied_of_the_others_and_says_so(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Worker(loads, 100 * MB) as worker:
        ask(worker, "a-10", "b-10")

        def full(*_: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(Words, "stream_answer", full)
            with pytest.raises(DeviceFullError, match="other models have been unloaded: try again"):
                ask(worker, "b-10")
            assert list(worker.statistics().loaded) == ["b-10"]
            with pytest.raises(DeviceFullError, match="a shorter input or a smaller model"):
                ask(worker, "b-10")
        assert ask(worker, "b-10") == ["b-10"]


def test_closing_cancels_all_jobs_and_returns_the_memory(loads: Loads) -> None:
    worker = Worker(loads, 100 * MB)
    running = worker.submit("a", {"text": "word " * 1000}, {"pause_ms": 5})
    waiting = [worker.submit("b", {"text": "x"}) for _ in range(3)]
    next(running.events(PATIENCE))
    worker.close()
    for job in (running, *waiting):
        assert job.state == "cancelled"
        with pytest.raises(JobCancelled, match="cancelled: the worker was closed"):
            job.result(0)
    assert worker.statistics().loaded == {}
    assert loads.keys == ["a"]
    gc.collect()
    assert len(loads.tasks) == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "task-worker"]
    with pytest.raises(RuntimeError, match="the worker is closed"):
        worker.submit("a", {"text": "x"})
    worker.close()  # twice does no harm


def test_closing_while_a_model_loads_waits_for_it(loads: Loads) -> None:
    worker = Worker(loads, 100 * MB)
    loads.gate.clear()
    job = worker.submit("a", {"text": "x"})
    until(lambda: job.state == "loading")
    closing = threading.Thread(target=worker.close)
    closing.start()
    time.sleep(0.02)
    assert closing.is_alive()
    loads.gate.set()
    closing.join(PATIENCE)
    assert (closing.is_alive(), job.state, worker.statistics().loaded) == (False, "cancelled", {})


PROGRAM = """
import sys
from pathlib import Path
from tests.support.words import Words
from tasks.runtime.worker import Worker
worker = Worker(lambda key: Words(Path(), key), 10**9)
next(worker.submit("a", {"text": "word " * 10_000}, {"pause_ms": 5}).events(20))
print("mlflow" in sys.modules, "streamlit" in sys.modules)
"""


def test_a_program_ends_although_nobody_closed_its_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "False False", "")


def test_an_idle_worker_uses_no_processor_time(loads: Loads) -> None:
    with Worker(loads, 100 * MB) as worker:
        assert ask(worker, "a") == ["a"]
        assert processor_time_of_idling() < 0.03


def processor_time_of_idling() -> float:
    [thread] = [thread for thread in threading.enumerate() if thread.name == "task-worker"]
    processor = next(entry for entry in psutil.Process().threads() if entry.id == thread.native_id)
    time.sleep(0.3)
    later = next(entry for entry in psutil.Process().threads() if entry.id == thread.native_id)
    return later.user_time + later.system_time - processor.user_time - processor.system_time
