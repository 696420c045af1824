"""One worker in front of all models, for the UI and any server: jobs in their order, within a memory budget.

A `Worker` owns a thread. It takes jobs first in, first out, loads the model that a job asks for (unloading those that
nobody has used for longest), and hands the job's events to whoever reads them, as they come. Models run one at a time:
two at once would share the same cores and be no faster. A model that answers several at once (`Task.at_once`) does so
while the next jobs are for it, each in a thread of its own.
"""

import atexit
import logging
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tasks.base import ModelFolderError, Row, Task, TaskInputError
from tasks.runtime.jobs import Job, JobCancelled, JobQueue
from tasks.runtime.memory import DeviceFullError, forget_frames, give_memory_back, is_full

logger = logging.getLogger(__name__)

GIGABYTE = 10**9


class ModelTooLargeError(Exception):
    """A model does not fit into the memory budget, even alone."""


# Errors whose text says all.
USER_FACING_ERRORS = (JobCancelled, TaskInputError, ModelFolderError, ModelTooLargeError, DeviceFullError)


@dataclass(frozen=True)
class Statistics:
    """What a worker holds: models with their bytes (longest unused first), how many jobs wait, which model works."""

    loaded: dict[str, int]
    bytes: int
    budget_bytes: int
    queued: int
    running: str | None


class Worker:
    """Runs jobs in their order on models that it loads and unloads. A context manager that closes itself."""

    def __init__(
        self,
        load: Callable[[str], Task],
        budget_bytes: int,
        expected_bytes: Callable[[str], int | None] = lambda _key: None,
        max_queue: int = 100,
    ) -> None:
        """Start the thread.

        Args:
            load: makes the loaded task of a key (a registered model's name, a folder).
            budget_bytes: what all loaded models together may take, by `Task.memory_bytes`.
            expected_bytes: what a model will take, where that is known before it is loaded: room is then made first.
            max_queue: jobs that may wait; `submit` refuses more.
        """
        self.budget_bytes = budget_bytes
        self._load, self._expected_bytes = load, expected_bytes
        self._queue = JobQueue(max_queue)
        self._loaded: OrderedDict[str, tuple[Task, int]] = OrderedDict()  # longest unused first
        self._running: list[Job] = []  # all for one model
        self._closed = False
        self._lock = threading.Lock()  # guards the three above
        self._ended = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._work, name="task-worker", daemon=True)
        self._thread.start()
        # A daemon thread that still computes while Python shuts down crashes the process.
        atexit.register(self.close)

    def submit(
        self,
        key: str,
        row: Row,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        on_event: Callable[[Row], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Job:
        """Queue a row for the model `key`.

        Args:
            timeout_s: an answer that takes longer (waiting and loading not counted) is cancelled before its next token
                or step.
            on_event: called with each event, and `on_end` at the end of the job, by the thread that works on it.

        Raises QueueFullError, or RuntimeError for a closed worker.
        """
        job = Job(self._queue, key, row, parameters or {}, timeout_s, on_event, on_end)
        self._queue.put(job)
        return job

    def statistics(self) -> Statistics:
        """What is loaded and what waits, now."""
        with self._lock:
            loaded = {key: size for key, (_, size) in self._loaded.items()}
            running = self._running[0].key if self._running else None
            taken = _bytes_of(self._loaded.values())
        return Statistics(loaded, taken, self.budget_bytes, len(self._queue), running)

    def limits(self, key: str) -> dict[str, int]:
        """The largest values of parameters for a model, if it is loaded: see `Task.limits`."""
        with self._lock:
            loaded = self._loaded.get(key)
        return loaded[0].limits() if loaded else {}

    def at_once(self, key: str) -> int:
        """How many jobs a model answers at the same time; 1 for one that is not loaded."""
        with self._lock:
            loaded = self._loaded.get(key)
        return loaded[0].at_once if loaded else 1

    def close(self) -> None:
        """Cancel all jobs, unload all models and end the thread; returns when that is done."""
        waiting = self._queue.close()
        with self._lock:
            self._closed = True
            running = list(self._running)
        for job in [*waiting, *running]:
            job.cancel("cancelled: the worker was closed")
        self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while self._serve_next():
            pass
        with self._ended:
            self._ended.wait_for(lambda: not self._running)
            self._loaded.clear()
        give_memory_back()

    def _may_begin(self, job: Job) -> bool:
        """Whether nothing works, or only the job's own model, which can answer one more."""
        with self._lock:
            running = len(self._running)
            return not running or (self._running[0].key == job.key and running < self._loaded[job.key][0].at_once)

    def _serve_next(self) -> bool:
        """Wait for a job and see it to its end, or leave it to a thread; False when the worker is closed."""
        job = self._queue.take(self._may_begin)
        if job is None:
            return False
        with self._lock:
            self._running.append(job)
            closed = self._closed
        if closed:  # between the two lines above
            job.cancel("cancelled: the worker was closed")
        error = self._error_of(job, lambda: self._load_for(job))
        if error is not None:
            self._end(job, error)
        elif self.at_once(job.key) == 1:
            self._answer(job)
        else:
            threading.Thread(target=self._answer, args=(job,), name="task-job", daemon=True).start()
        return True

    def _answer(self, job: Job) -> None:
        """Run a job whose model is loaded to its end."""

        def answer() -> None:
            try:
                job.answer(self._loaded[job.key][0])
            except Exception as error:
                if is_full(error):
                    raise self._full(job.key) from error
                raise

        self._end(job, self._error_of(job, answer))

    def _end(self, job: Job, error: Exception | None) -> None:
        if error is not None and not isinstance(error, (JobCancelled, TaskInputError)):
            give_memory_back()  # of a failed load, or of what filled the device
        with self._ended:
            self._running.remove(job)
            self._ended.notify_all()
        self._queue.wake()
        job.finish(error)

    def _error_of(self, job: Job, work: Callable[[], object]) -> Exception | None:
        """Work for a job; the error that ended it, if one did. Nothing that a model raises ends the thread."""
        try:
            work()
        except BaseException as error:
            if not isinstance(error, USER_FACING_ERRORS):
                # As text: a handler that keeps records would keep the traceback, and with it the model.
                logger.error("the job for %s failed\n%s", job.key, traceback.format_exc())
            forget_frames(error)
            if isinstance(error, Exception):
                return error
            return RuntimeError(f"the model ended with {type(error).__name__}")  # SystemExit is not for the reader
        return None

    def _load_for(self, job: Job) -> None:
        """Load the model of a job if it is not, and make it the most recently used.

        Raises ModelTooLargeError, or what loading raises.
        """
        job.check()
        if job.key not in self._loaded:
            job.enter("loading")
            expected = self._expected_bytes(job.key)
            if expected is not None:
                self._make_room(job.key, expected)
            task = self._load_with_room(job.key)
            size = task.memory_bytes()
            self._make_room(job.key, size, task)
            with self._lock:
                self._loaded[job.key] = (task, size)
        with self._lock:
            self._loaded.move_to_end(job.key)

    def _load_with_room(self, key: str) -> Task:
        """Load a model; once more without the others, if the device is full: the budget is not the device's memory."""
        for _ in range(2):
            try:
                return self._load(key)
            except Exception as error:
                if not is_full(error):
                    raise
                forget_frames(error)
            if not self._unload_others(key):
                break
        raise self._full(key)

    def _full(self, key: str) -> DeviceFullError:
        """What to say of a full device; first the other models leave it."""
        if self._unload_others(key):
            return DeviceFullError(f"{key} ran out of the device's memory; other models have been unloaded: try again")
        return DeviceFullError(
            f"{key} needs more memory than the device has; a shorter input or a smaller model may fit"
        )

    def _unload_others(self, key: str) -> bool:
        """Unload every model but one; whether there were others."""
        with self._lock:
            others = [other for other in self._loaded if other != key]
            for other in others:
                del self._loaded[other]
        if others:
            give_memory_back()
        return bool(others)

    def _make_room(self, key: str, needed: int, task: Task | None = None) -> None:
        """Unload the longest unused models until `needed` bytes fit. Raises ModelTooLargeError if they never do.

        Args: task: what needs them, if it is loaded: it may share its weights with others.
        """
        if needed > self.budget_bytes:
            raise ModelTooLargeError(
                f"{key} needs {needed / GIGABYTE:.2f} GB of memory, "
                f"more than the {self.budget_bytes / GIGABYTE:.2f} GB that models may take"
            )
        unloaded = False
        with self._lock:
            while self._loaded and _bytes_of([*self._loaded.values(), (task, needed)]) > self.budget_bytes:
                self._loaded.popitem(last=False)
                unloaded = True
        if unloaded:
            give_memory_back()


def _bytes_of(loaded: Iterable[tuple[Task | None, int]]) -> int:
    """What tasks take together: an engine that several of them share counts once."""
    return sum({id(getattr(task, "engine", task)): size for task, size in loaded}.values())
