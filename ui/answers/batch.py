"""Many rows, answered by the worker a few at a time, given back as CSV or JSON.

No Streamlit here. A `Batch` is kept in the visitor's session and continues while they look at other pages; it ends with
the session.
"""

import threading
import time
import uuid
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from ui.answers.batch_file import Line
from ui.answers.batch_work import Submit, Work
from ui.answers.tables import as_csv, as_json


class Batch:
    """Rows on their way through a model, or several one after another, few rows a job, so that other visitors'
    questions come in between.
    """

    def __init__(
        self,
        submit: Submit,
        task: str,
        references: str | Sequence[str],
        lines: Sequence[Line],
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
        self.task, self.lines, self.name = task, lines, name
        self.run_id = ""  # in MLflow, once it was logged there
        self._work = Work(submit, self.references, lines, dict(parameters), together)
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
    def parameters(self) -> Mapping[str, Any]:
        """The settings of all rows."""
        return self._work.parameters

    @property
    def total(self) -> int:
        """Rows of all models together."""
        return self._work.total

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
        return self.seconds() / self.done * (self.total - self.done)

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
        several = len(self.references) > 1
        return [
            (number, f"{reference}: {one['error']}" if several else one["error"])
            for reference, results in self.by_model().items()
            for number, one in enumerate(results, 1)
            if one.get("error")
        ]

    def by_model(self) -> dict[str, list[dict[str, Any]]]:
        """The results so far of each model, in the order of the rows."""
        results, rows = list(self._work.results), len(self.lines)
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
