"""One worker in front of all models, for the UI and any server: jobs in their order, within a memory budget.

A `Worker` owns a thread. It takes jobs first in, first out, loads the model that a job asks for (unloading those that
were used longest ago), and passes the job's events on to its reader, as they come. Models run one at a time:
two at once would share the same cores and be no faster. A model that answers several at once (`Task.at_once`) does so
while the next jobs are for it, each in a thread of its own.
"""

import atexit
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tasks.base import ModelFolderError, Row, Task, TaskInputError
from tasks.runtime.jobs import Job, JobCancelled, JobQueue
from tasks.runtime.loaded import Expected, LoadedModels, ModelTooLargeError
from tasks.runtime.memory import DeviceFullError, forget_frames, give_memory_back, is_full

logger = logging.getLogger(__name__)

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
        expected: Callable[[str], Expected] = lambda _key: Expected(),
        max_queue: int = 100,
    ) -> None:
        """Start the thread.

        Args:
            load: makes the loaded task of a key (a registered model's name, a folder).
            budget_bytes: what all loaded models together may take, by `Task.memory_bytes`.
            expected: what is known of a model before it is loaded: room for what is new is then made first.
            max_queue: jobs that may wait; `submit` refuses more.
        """
        self.budget_bytes = budget_bytes
        self._models = LoadedModels(load, budget_bytes, expected)
        self._queue = JobQueue(max_queue)
        self._running: list[Job] = []  # all for one model
        self._closed = False
        self._lock = threading.Lock()  # guards the two above
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
        loaded, taken = self._models.sizes()
        with self._lock:
            running = self._running[0].key if self._running else None
        return Statistics(loaded, taken, self.budget_bytes, len(self._queue), running)

    def limits(self, key: str) -> dict[str, int]:
        """The largest values of parameters for a model, if it is loaded: see `Task.limits`."""
        task = self._models.get(key)
        return task.limits() if task else {}

    def at_once(self, key: str) -> int:
        """How many jobs a model answers at the same time; 1 for one that is not loaded."""
        task = self._models.get(key)
        return task.at_once if task else 1

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
        self._models.clear()

    def _may_begin(self, job: Job) -> bool:
        """Whether nothing works, or only the job's own model, which can answer one more."""
        with self._lock:
            running = len(self._running)
            return not running or (self._running[0].key == job.key and running < self.at_once(job.key))

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
            task = self._models.get(job.key)
            assert task is not None, "nothing unloads a model at work"
            try:
                job.answer(task)
            except Exception as error:
                if is_full(error):
                    raise self._models.full(job.key) from error
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
        job.check()
        if self._models.get(job.key) is None:
            job.enter("loading")
        self._models.load(job.key)
