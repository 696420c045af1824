"""Jobs for models, and the queue that they wait in: first in, first out, each of them to be watched and cancelled."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Literal, cast

from tasks.base import Row, Task, TaskStopped

State = Literal["queued", "loading", "running", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")


class JobCancelled(Exception):  # noqa: N818
    """A job was stopped before its end: by its reader, its time limit or the worker's closing; the text says which."""


class QueueFullError(Exception):
    """The queue has reached its limit of jobs."""


class Job:
    """A row on its way through a model. Made by `Worker.submit`; public methods may be called from any thread."""

    def __init__(
        self,
        queue: "JobQueue",
        key: str,
        row: Row,
        parameters: Mapping[str, Any],
        timeout_s: float | None,
        on_event: Callable[[Row], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.key = key
        self._on_event, self._on_end = on_event, on_end
        self.state: State = "queued"
        self._queue = queue
        self._row, self._parameters = row, parameters
        self._timeout_s = timeout_s
        self._deadline: float | None = None
        self._stop_reason: str | None = None
        self._events: list[Row] = []
        self._error: Exception | None = None
        self._changed = threading.Condition()

    @property
    def position(self) -> int | None:
        """Place in the queue, 1 is next; None for a job that no longer waits."""
        return self._queue.position(self)

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop: at once while queued, after the loading while loading, before the next token or step while running.

        A job that is over stays as it is.
        """
        self._stop_reason = self._stop_reason or reason
        if self._queue.withdraw(self):
            self.finish(JobCancelled(self._stop_reason))

    def events(self, timeout: float | None = None, *, cancel_when_left: bool = False) -> Iterator[Row]:
        """All events from the first on, as they come; the last one is the whole output row.

        Several may read, and a later one (a page drawn anew) gets the events again from the start.

        Args:
            timeout: seconds to wait for the next event.
            cancel_when_left: cancel the job when the reader stops reading before the end.

        Raises, at the end, what `result` raises; TimeoutError.
        """
        read = 0
        try:
            while new := self._events_after(read, timeout):
                read += len(new)
                yield from new
        finally:
            if cancel_when_left:
                self.cancel("cancelled: its reader left")
        if self._error is not None:
            raise self._error

    def result(self, timeout: float | None = None) -> Row:
        """The output row, waiting for it up to `timeout` seconds.

        Raises the error that ended the job (TaskInputError, ModelTooLargeError, ...), JobCancelled, or TimeoutError.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.state in OVER, timeout):
                raise TimeoutError(f"the job for {self.key} is still {self.state} after {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self._events[-1]

    def _events_after(self, read: int, timeout: float | None) -> list[Row]:
        """The events that the reader has not seen, waiting for one; none if there will be no more."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._events) > read or self.state in OVER, timeout):
                raise TimeoutError(f"the job for {self.key} gave nothing new in {timeout:g} s; it is {self.state}")
            return self._events[read:]

    # What follows is for the worker.

    def check(self) -> None:
        """Raises JobCancelled if the job must not continue."""
        if self._must_stop():
            raise JobCancelled(self._stop_reason)

    def answer(self, task: Task) -> None:
        """Run the row through the task. Raises JobCancelled as soon as the job must stop, and what the task raises."""
        self.check()
        self.enter("running")
        if self._timeout_s is not None:
            self._deadline = time.monotonic() + self._timeout_s
        try:
            self._follow(task)
        except TaskStopped:
            self.check()
            raise
        self.check()
        if not self._events:
            raise RuntimeError(f"task {task.name} gave no output row")

    def _follow(self, task: Task) -> None:
        stream = cast("Generator[Row]", task.stream(self._row, self._parameters, self._must_stop))
        with contextlib.closing(stream):  # a cancelled one ends here and now: the next job needs the model
            for event in stream:
                if self._must_stop():
                    break
                with self._changed:
                    self._events.append(event)
                    self._changed.notify_all()
                if self._on_event is not None:
                    self._on_event(event)

    def enter(self, state: State) -> None:
        """Go into a state, for all readers to see."""
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def finish(self, error: Exception | None) -> None:
        """End as done, or with the error that `result` will raise."""
        self._error = error
        self.enter("done" if error is None else "cancelled" if isinstance(error, JobCancelled) else "failed")
        if self._on_end is not None:
            self._on_end()

    def _must_stop(self) -> bool:
        if self._stop_reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self._stop_reason = f"stopped after {self._timeout_s:g} s, its time limit"
        return self._stop_reason is not None


class JobQueue:
    """Jobs that wait, up to `limit` of them. Safe between threads; waiting for a job costs nothing."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Queue a job. Raises QueueFullError, or RuntimeError for a closed queue."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the worker is closed")
            if len(self._jobs) >= self._limit:
                raise QueueFullError(f"{self._limit} jobs wait already, the most that may; try again later")
            self._jobs.append(job)
            self._changed.notify_all()

    def take(self, may_begin: Callable[[Job], bool]) -> Job | None:
        """The oldest job, waited for until there is one that may begin; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._jobs and may_begin(self._jobs[0])))
            return None if self._closed else self._jobs.popleft()

    def wake(self) -> None:
        """Have `take` ask again whether the oldest job may begin."""
        with self._changed:
            self._changed.notify_all()

    def withdraw(self, job: Job) -> bool:
        """Take a job out; False if it does not wait here any more."""
        with self._changed:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    def position(self, job: Job) -> int | None:
        """The job's place, 1 is next; None if it does not wait here any more."""
        with self._changed:
            return self._jobs.index(job) + 1 if job in self._jobs else None

    def close(self) -> list[Job]:
        """Give out and take in no more jobs; returns those that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return list(self._jobs)
