"""From a checked request to the events of its answer: through the queue to the worker, and back to the event loop."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks import task_class
from tasks.base import Row
from tasks.registry import RegisteredVersion
from tasks.runtime.jobs import Job, QueueFullError
from tasks.runtime.rows import check_work, work
from tasks.runtime.worker import Worker
from tasks.serve.bodies import TaskRequest
from tasks.serve.directory import Directory
from tasks.serve.errors import ApiError
from tasks.serve.metrics import Metrics
from tasks.serve.queue import FairQueue

LONGEST_RETRY_S = 600
PACE_WEIGHT = 0.2  # of the newest request in the average
CLOSING = "the server is shutting down"
# Two at once, so that memory and processor stay with the models.
CHECKS_AT_ONCE = 2


class PendingAnswer:
    """The answer to a request while it is made. Its holder must `leave` it in the end."""

    def __init__(self, version: RegisteredVersion, deadline: float, *, pieces: bool) -> None:
        """Args: deadline: by the event loop's clock; the job is cancelled then, and `next` raises TimeoutError."""
        self.version, self.pieces = version, pieces
        self.job: Job | None = None
        self.tokens = 0  # that the output rows speak of
        self.begun = time.monotonic()
        self._events: asyncio.Queue[Row | Exception | None] = asyncio.Queue()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    async def next(self) -> Row | None:
        """The next event; None after the last. Raises the error that ended the job."""
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event

    def put(self, event: Row | Exception | None) -> None:
        if isinstance(event, Mapping):
            self.tokens += sum(int(row.get("tokens", 0)) for row in event.get("rows", [event]))
        self._events.put_nowait(event)

    def leave(self, reason: str = "cancelled: its client left") -> None:
        """Nobody reads on: the job is cancelled unless it is over."""
        self._timer.cancel()
        if self.job is not None:
            self.job.cancel(reason)

    def _expire(self) -> None:
        self.put(TimeoutError())
        self.leave("cancelled: it took too long")


class Gateway:
    """What the routes share. Made and used in one event loop; `stop` ends all work, `close` gives the models back."""

    def __init__(self, worker: Worker, directory: Directory, metrics: Metrics, capacity: int) -> None:
        """Args: worker: one whose tasks are `RequestTask`s; capacity: how many requests may wait."""
        self.worker, self.directory, self.metrics = worker, directory, metrics
        self.queue = FairQueue(capacity, worker.at_once)
        self.stopping = False
        self._seconds = 1.0  # that a request takes the worker, on average of the last ones
        self._answers: set[PendingAnswer] = set()
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, "checks")

    async def check(self, task: str, rows: Sequence[Row], parameters: Mapping[str, Any]) -> None:
        """Check a request as far as that goes without its model. Raises TaskInputError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._checks, check_work, task_class(task), rows, parameters)

    async def begin(
        self, client: str, version: RegisteredVersion, asked: TaskRequest, deadline: float
    ) -> PendingAnswer:
        """Wait for one's turn and start. Raises ApiError where the queue is full, or the server is shutting down.

        Args:
            client: clients take turns.
            asked: where its rows came as a list, the only event is `{"rows": [...]}`; where it is no stream, the last.
            deadline: for the answer, by the event loop's clock; waiting is not bounded by it.
        """
        if self.stopping:
            raise ApiError(503, "stopped", CLOSING)
        try:
            await self.queue.acquire(client, version.key)
        except QueueFullError as error:
            raise self._full(error) from None
        answer = PendingAnswer(version, deadline, pieces=asked.stream)
        self._answers.add(answer)
        try:
            given = work(asked.rows, many=asked.many, pieces=asked.stream, order=asked.order)
            on_event, on_end = self._listeners(answer)
            answer.job = self.worker.submit(version.key, given, asked.parameters, on_event=on_event, on_end=on_end)
        except BaseException:
            self._over(answer)
            raise
        return answer

    async def stop(self) -> None:
        """Take no more requests, fail those that wait, and end the one that is served at its next token."""
        self.stopping = True
        self.queue.fail_all(ApiError(503, "stopped", CLOSING))
        for answer in self._answers:
            answer.leave(CLOSING)

    async def close(self) -> None:
        """Stop, and give the models back. Returns when that is done."""
        await self.stop()
        await asyncio.to_thread(self.worker.close)
        self._checks.shutdown(wait=False)

    def _listeners(self, answer: PendingAnswer) -> tuple[Callable[[Row], None], Callable[[], None]]:
        """What hands a job's events to the event loop as they come, from the worker's threads."""
        tell = asyncio.get_running_loop().call_soon_threadsafe
        begun = False

        def on_event(event: Row) -> None:
            nonlocal begun
            if not begun:  # so its model is loaded, and may answer several at once
                begun = True
                tell(self.queue.admit)
            if answer.pieces:
                tell(answer.put, event)

        def on_end() -> None:
            tell(self._end, answer)

        return on_event, on_end

    def _end(self, answer: PendingAnswer) -> None:
        """A job is over."""
        error: Exception | None = None
        try:
            assert answer.job is not None  # it is known before the event loop hears of its end
            row = answer.job.result()
            if not answer.pieces:
                answer.put(row)
        except Exception as caught:
            error = caught
        self._seconds += PACE_WEIGHT * (time.monotonic() - answer.begun - self._seconds)
        self.metrics.tokens.labels(answer.version.task).inc(answer.tokens)
        answer.put(error)
        self._over(answer)

    def _over(self, answer: PendingAnswer) -> None:
        self._answers.discard(answer)
        self.queue.release(answer.version.key)

    def _full(self, error: QueueFullError) -> ApiError:
        """A 429 that says when to come back: after half of those that wait have been served, by the latest pace."""
        wait = math.ceil(self._seconds * len(self.queue) / 2)
        headers = {"Retry-After": str(min(max(wait, 1), LONGEST_RETRY_S))}
        return ApiError(429, "queue_full", str(error), headers=headers)
