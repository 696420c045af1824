"""The thread of a batch: rows, some together, to one registered version after another. No Streamlit here."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tasks.base import ModelFolderError, Row, TaskInputError
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import Job, JobCancelled, QueueFullError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.memory import DeviceFullError
from ui.answers.batch_file import Line
from ui.answers.history import size

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 200 * 10**6
STOPPED = "stopped by you"
# What no other row of the batch could escape either.
FATAL = (ModelFolderError, ModelNotFoundError, ModelTooLargeError, StoreUnreachableError)
USER_FACING_ERRORS = (TaskInputError, JobCancelled, DeviceFullError)
TOGETHER = 16  # rows in one job: other visitors wait no longer than that takes
Submit = Callable[[str, Any, Mapping[str, Any]], Job]


@dataclass
class Work:
    """What the thread of a batch works on; it does not know the `Batch`, which ends it by being forgotten."""

    submit: Submit
    references: Sequence[str]
    lines: Sequence[Line]
    parameters: Mapping[str, Any]
    together: int
    # One for each line of the first model, then of the next: the output row, or {"error": why}.
    results: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    bytes: int = 0
    state: str = "running"
    reason: str = ""
    job: Job | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def stop(self) -> None:
        self.stopping.set()
        if self.job is not None:
            self.job.cancel(STOPPED)

    @property
    def total(self) -> int:
        return len(self.references) * len(self.lines)

    def run(self) -> None:
        try:
            while len(self.results) < self.total and self._step():
                pass
        except Exception as error:
            logger.exception("a batch for %s failed", ", ".join(self.references))
            self.reason = f"it failed ({type(error).__name__}); the terminal of the tool says more"
        self.ended = time.monotonic()
        whole = len(self.results) == self.total
        self.state = "done" if whole else "failed" if self.reason else "stopped"

    def _step(self) -> bool:
        """Answer the next lines; False if the batch ends here."""
        try:
            return self._answer_next()
        except FATAL as error:
            return self._give_up(error)

    def _answer_next(self) -> bool:
        """Answer the next lines of a model; False if the batch ends here. Raises what would fail every line."""
        model, start = divmod(len(self.results), len(self.lines))
        reference, lines = self.references[model], self.lines[start : start + self.together]
        sound = list(takewhile(lambda line: not line.fault, lines))
        if len(sound) > 1:
            try:
                results = self._asked(reference, [line.row for line in sound])
            except FATAL:
                raise
            except Exception as error:  # each for itself says which
                logger.debug("rows %d to %d of a batch failed together: %r", start + 1, start + len(sound), error)
            else:
                return results is not None and all(self._keep(dict(result)) for result in results["rows"])
        return all(self._answer(reference, line) for line in sound or lines[:1])

    def _answer(self, reference: str, line: Line) -> bool:
        """Answer a line; False if the batch ends here."""
        try:
            if line.fault:
                raise TaskInputError(line.fault)
            result = self._asked(reference, line.row)
        except FATAL:
            raise
        except Exception as error:
            if isinstance(error, JobCancelled) and self.stopping.is_set():
                return False
            said = isinstance(error, USER_FACING_ERRORS)
            if not said:
                logger.warning("a row of a batch for %s failed: %r", reference, error)
            result = {"error": str(error) if said else f"failed: {type(error).__name__}"}
            self.failed += 1
        return result is not None and self._keep(result)

    def _give_up(self, error: Exception) -> bool:
        """Answer no more lines of a model: each would wait for a load that fails. False if it is the only model."""
        if len(self.references) == 1:
            self.reason = str(error)
            return False
        left = len(self.lines) - len(self.results) % len(self.lines)
        self.failed += left
        return all(self._keep({"error": str(error)}) for _ in range(left))

    def _keep(self, result: dict[str, Any]) -> bool:
        self.bytes += size(result)
        self.results.append(result)
        if self.bytes > MAX_RESULT_BYTES and len(self.results) < self.total:
            self.reason = f"the results have {MAX_RESULT_BYTES / 1e6:.0f} MB, the most that are kept"
            return False
        return True

    def _asked(self, reference: str, row: Row | list[Row]) -> dict[str, Any] | None:
        """The output, waited for; None if the batch was stopped before the row was taken."""
        while not self.stopping.is_set():
            try:
                self.job = self.submit(reference, row, self.parameters)
            except QueueFullError:
                self.stopping.wait(0.2)  # others are before it
                continue
            if self.stopping.is_set():  # between the two
                self.job.cancel(STOPPED)
            return dict(self.job.result())
        return None
