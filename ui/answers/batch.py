"""Many rows, answered by the worker a few at a time, given back as CSV or JSON.

No Streamlit here. A `Batch` is kept in the visitor's session and goes on while they look at other pages; it ends with
the session.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tasks.base import ModelFolderError, Row, TaskInputError
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import Job, JobCancelled, QueueFullError
from tasks.runtime.memory import DeviceFullError
from tasks.runtime.worker import ModelTooLargeError
from ui.answers.batch_file import Line
from ui.answers.history import size
from ui.answers.tables import as_csv, as_json

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 200 * 10**6
STOPPED = "stopped by you"
# What no other row of the batch could escape either.
FATAL = (ModelFolderError, ModelNotFoundError, ModelTooLargeError, StoreUnreachableError)
SPOKEN = (TaskInputError, JobCancelled, DeviceFullError)
TOGETHER = 16  # rows in one job, so long others wait at most
Submit = Callable[[str, Any, Mapping[str, Any]], Job]


@dataclass
class _Work:
    """What the thread of a batch works on; it does not know the `Batch`, which ends it by being forgotten."""

    submit: Submit
    reference: str
    lines: Sequence[Line]
    parameters: Mapping[str, Any]
    together: int
    results: list[dict[str, Any]] = field(default_factory=list)  # one a line: the output row, or {"error": why}
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

    def run(self) -> None:
        try:
            while len(self.results) < len(self.lines) and self._go_on():
                pass
        except Exception as error:
            logger.exception("a batch for %s failed", self.reference)
            self.reason = f"it failed ({type(error).__name__}); the terminal of the tool says more"
        self.ended = time.monotonic()
        whole = len(self.results) == len(self.lines)
        self.state = "done" if whole else "failed" if self.reason else "stopped"

    def _go_on(self) -> bool:
        """Answer the next lines; False if the batch is not to go on."""
        start = len(self.results)
        lines = self.lines[start : start + self.together]
        sound = list(takewhile(lambda line: not line.fault, lines))
        if len(sound) > 1:
            try:
                results = self._asked([line.row for line in sound])
            except Exception as error:  # each for itself says which
                logger.debug("rows %d to %d of a batch failed together: %r", start + 1, start + len(sound), error)
            else:
                return results is not None and all(self._keep(dict(result)) for result in results["rows"])
        return all(self._answer(line) for line in sound or lines[:1])

    def _answer(self, line: Line) -> bool:
        """Answer a line; False if the batch is not to go on."""
        try:
            if line.fault:
                raise TaskInputError(line.fault)
            result = self._asked(line.row)
        except FATAL as error:
            self.reason = str(error)
            return False
        except Exception as error:
            if isinstance(error, JobCancelled) and self.stopping.is_set():
                return False
            if not isinstance(error, SPOKEN):
                logger.warning("a row of a batch for %s failed: %r", self.reference, error)
            result = {"error": str(error) if isinstance(error, SPOKEN) else f"failed: {type(error).__name__}"}
            self.failed += 1
        return result is not None and self._keep(result)

    def _keep(self, result: dict[str, Any]) -> bool:
        self.bytes += size(result)
        self.results.append(result)
        if self.bytes > MAX_RESULT_BYTES and len(self.results) < len(self.lines):
            self.reason = f"the results have {MAX_RESULT_BYTES / 1e6:.0f} MB, the most that are kept"
            return False
        return True

    def _asked(self, row: Row | list[Row]) -> dict[str, Any] | None:
        """The output, waited for; None if the batch was stopped before the row was taken."""
        while not self.stopping.is_set():
            try:
                self.job = self.submit(self.reference, row, self.parameters)
            except QueueFullError:
                self.stopping.wait(0.2)  # others are before it
                continue
            if self.stopping.is_set():  # between the two
                self.job.cancel(STOPPED)
            return dict(self.job.result())
        return None


class Batch:
    """Rows of a file on their way through a model, few a job, so that other visitors' questions come in between."""

    def __init__(
        self,
        submit: Submit,
        task: str,
        reference: str,
        lines: Sequence[Line],
        parameters: Mapping[str, Any],
        name: str,
        together: int = 1,
    ) -> None:
        """Start at once.

        Args:
            submit: queues a row for a registered version, as `Services.submit`.
            name: of the file, for those of the results.
            together: rows in one job.
        """
        self.task, self.reference, self.lines, self.name = task, reference, lines, name
        self._work = _Work(submit, reference, lines, dict(parameters), together)
        # A visitor who has left waits for nothing: with their session the batch is forgotten, and ends.
        weakref.finalize(self, self._work.stop)
        threading.Thread(target=self._work.run, name="batch", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether more comes."""
        return self._work.state == "running"

    @property
    def state(self) -> str:
        """`running`, `done`, `stopped` or `failed`; `reason` says why the last."""
        return self._work.state

    @property
    def reason(self) -> str:
        """Why it ended before its last row, unless it was stopped."""
        return self._work.reason

    @property
    def done(self) -> int:
        """Rows that have a result or an error."""
        return len(self._work.results)

    @property
    def failed(self) -> int:
        """Rows that have an error."""
        return self._work.failed

    def seconds(self) -> float:
        """Since it began, until its end."""
        return (self._work.ended or time.monotonic()) - self._work.started

    def seconds_left(self) -> float | None:
        """As long as the rows so far took on average, the others will; None before the first."""
        if not self.done:
            return None
        return self.seconds() / self.done * (len(self.lines) - self.done)

    def stop(self) -> None:
        """End before the next row; what is done is kept."""
        self._work.stop()

    def wait(self, timeout: float) -> None:
        """Wait for the end, up to `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.running and time.monotonic() < end:
            time.sleep(0.01)

    def errors(self) -> list[tuple[int, str]]:
        """The rows that failed, counted from 1, and why."""
        return [(number, one["error"]) for number, one in enumerate(list(self._work.results), 1) if one.get("error")]

    def table(self) -> list[dict[str, Any]]:
        """The rows so far: the file's columns, the model's, and `error`; a name of both is the file's."""
        results = list(self._work.results)
        taken = set(self.lines[0].given)
        columns = list(dict.fromkeys(name for result in results for name in result if name != "error"))

        def named(column: str) -> str:
            while column in taken:
                column = f"model {column}"
            return column

        return [
            {
                **line.given,
                **{named(column): result.get(column) for column in columns},
                named("error"): result.get("error", ""),
            }
            for line, result in zip(self.lines, results, strict=False)
        ]

    def csv(self) -> bytes:
        """The results as a table; pictures only as their size."""
        return as_csv(self.table())

    def json(self) -> str:
        """The results whole, pictures included."""
        return as_json(
            {
                "task": self.task,
                "reference": self.reference,
                "parameters": self._work.parameters,
                "rows": [
                    {"input": line.given, "result": result}
                    for line, result in zip(self.lines, list(self._work.results), strict=False)
                ],
            }
        )


def in_words(seconds: float) -> str:
    """A time as one says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
