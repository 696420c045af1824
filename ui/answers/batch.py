"""Many rows, answered by the worker a few at a time, given back as CSV or JSON.

No Streamlit here. A `Batch` is kept in the visitor's session and continues while they look at other pages.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from tasks.base import ModelFolderError, Row, TaskInputError
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import Job, JobCancelled, QueueFullError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.worker import USER_FACING_ERRORS
from ui.answers.asking import STOPPED
from ui.answers.batch_file import BatchLine
from ui.answers.history import size
from ui.answers.tables import as_csv, as_json

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES = 200 * 10**6
# What no other row of the batch could escape either.
FATAL = (ModelFolderError, ModelNotFoundError, ModelTooLargeError, StoreUnreachableError)
TOGETHER = 16  # rows in one job: other visitors wait no longer than that takes
Submit = Callable[[str, Any, Mapping[str, Any]], Job]


class Batch:
    """Rows on their way through a model, or several one after another, few rows a job, so that other visitors'
    questions come in between.
    """

    def __init__(
        self,
        submit: Submit,
        task: str,
        references: str | Sequence[str],
        lines: Sequence[BatchLine],
        parameters: Mapping[str, Any],
        name: str,
        together: int = 1,
    ) -> None:
        """Start at once.

        Args:
            submit: queues a row for a registered version, as `Services.submit`.
            references: registered versions.
            name: of the file, for those of the results.
            together: rows in one job.
        """
        self.references = (references,) if isinstance(references, str) else tuple(references)
        self.id = uuid.uuid4().hex
        self.task, self.lines, self.parameters, self.name = task, lines, dict(parameters), name
        self.run_id = ""  # in MLflow, once it was logged there
        self.state = "running"  # then `done`, `stopped` or `failed`
        self.reason = ""  # why it ended before its last row, unless it was stopped
        self.failed = 0  # rows that have an error
        self._submit, self._together = submit, together
        # One for each line of the first model, then of the next: the output row, or {"error": why}.
        self._results: list[dict[str, Any]] = []
        self._bytes = 0
        self._job: Job | None = None
        self._stopping = threading.Event()
        self._started, self._ended = time.monotonic(), 0.0
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether more comes."""
        return self.state == "running"

    @property
    def total(self) -> int:
        """Rows of all models together."""
        return len(self.references) * len(self.lines)

    @property
    def done(self) -> int:
        """Rows that have a result or an error."""
        return len(self._results)

    def seconds(self) -> float:
        """Since it began, until its end."""
        return (self._ended or time.monotonic()) - self._started

    def seconds_left(self) -> float | None:
        """As long as the rows so far took on average, the others will; None before the first."""
        if not self.done:
            return None
        return self.seconds() / self.done * (self.total - self.done)

    def stop(self) -> None:
        """End before the next row; what is done is kept."""
        self._stopping.set()
        if self._job is not None:
            self._job.cancel(STOPPED)

    def wait(self, timeout: float) -> None:
        """Wait for the end, up to `timeout` seconds."""
        self._thread.join(timeout)

    def errors(self) -> list[tuple[int, str]]:
        """The rows that failed, counted from 1, and why."""
        several = len(self.references) > 1
        return [
            (number, f"{reference}: {one['error']}" if several else one["error"])
            for reference, results in self.by_model().items()
            for number, one in enumerate(results, 1)
            if one.get("error")
        ]

    def by_model(self) -> dict[str, list[dict[str, Any]]]:
        """The results so far of each model, in the order of the rows."""
        results, rows = list(self._results), len(self.lines)
        return {one: results[place * rows : (place + 1) * rows] for place, one in enumerate(self.references)}

    def table(self) -> list[dict[str, Any]]:
        """The rows so far: the file's columns, the model's, and `error`; a name of both is the file's.

        Of several models each is a column, with what was asked for (the first that it gives), or why there is none.
        """
        by_model = self.by_model()
        results = by_model[self.references[0]]
        if len(self.references) > 1:
            firsts = {name: [next(iter(one.values()), "") for one in some] for name, some in by_model.items()}
            return [
                {**line.given, **{name: some[place] if place < len(some) else None for name, some in firsts.items()}}
                for place, line in enumerate(self.lines[: len(results)])
            ]
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
                "reference": ", ".join(self.references),
                "parameters": self.parameters,
                "rows": [
                    {"reference": reference, "input": line.given, "result": result}
                    for reference, results in self.by_model().items()
                    for line, result in zip(self.lines, results, strict=False)
                ],
            }
        )

    def _run(self) -> None:
        try:
            while self.done < self.total and self._step():
                pass
        except Exception as error:
            logger.exception("a batch for %s failed", ", ".join(self.references))
            self.reason = f"it failed ({type(error).__name__}); the terminal of the tool says more"
        self._ended = time.monotonic()
        whole = self.done == self.total
        self.state = "done" if whole else "failed" if self.reason else "stopped"

    def _step(self) -> bool:
        """Answer the next lines; False if the batch ends here."""
        try:
            return self._answer_next()
        except FATAL as error:
            return self._give_up(error)

    def _answer_next(self) -> bool:
        """Answer the next lines of a model; False if the batch ends here. Raises what would fail every line."""
        model, start = divmod(self.done, len(self.lines))
        reference, lines = self.references[model], self.lines[start : start + self._together]
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

    def _answer(self, reference: str, line: BatchLine) -> bool:
        """Answer a line; False if the batch ends here."""
        try:
            if line.fault:
                raise TaskInputError(line.fault)
            result = self._asked(reference, line.row)
        except FATAL:
            raise
        except Exception as error:
            if isinstance(error, JobCancelled) and self._stopping.is_set():
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
        left = len(self.lines) - self.done % len(self.lines)
        self.failed += left
        return all(self._keep({"error": str(error)}) for _ in range(left))

    def _keep(self, result: dict[str, Any]) -> bool:
        self._bytes += size(result)
        self._results.append(result)
        if self._bytes > MAX_RESULT_BYTES and self.done < self.total:
            self.reason = f"the results have {MAX_RESULT_BYTES / 1e6:.0f} MB, the most that are kept"
            return False
        return True

    def _asked(self, reference: str, row: Row | list[Row]) -> dict[str, Any] | None:
        """The output, waited for; None if the batch was stopped before the row was taken."""
        while not self._stopping.is_set():
            try:
                self._job = self._submit(reference, row, self.parameters)
            except QueueFullError:
                self._stopping.wait(0.2)  # others are before it
                continue
            if self._stopping.is_set():  # between the two
                self._job.cancel(STOPPED)
            return dict(self._job.result())
        return None
