"""Requests of one row or many, as the worker's jobs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.base import Cancel, Row, Task, TaskInputError, TaskRowError, never
from tasks.engines.generation import WritingTask

if TYPE_CHECKING:
    from tasks.chat import Chatbot

ROWS_AT_ONCE = 32


def work(rows: Sequence[Row], *, many: bool, pieces: bool = True, order: Row | None = None) -> Row:
    """What is given to the worker in place of a row: the rows of a request, and whether they came as a list.

    No rows only have the model loaded.

    Args:
        pieces: whether they are read.
        order: what a chat asks for that only some engines can do, see `Chatbot.converse`.
    """
    return {"rows": rows, "many": many, "pieces": pieces, "order": order}


class RequestTask(Task):
    """A loaded task that takes `work`: one row, answered as a stream; or many, answered as one event `{"rows": [...]}`.

    Many rows go through `Task.run` by 32, so that the model has its batches and a cancelled job still ends soon. A task
    that writes in pieces has no batches, and its rows are streamed one by one: it can be cancelled between tokens, and
    each text is that of the row alone, also where the model could write several at once.
    What the rows may be together holds for all rows of the request.
    """

    name = "request"
    inputs = {}

    def __init__(self, task: Task) -> None:
        super().__init__(task.folder, task.model_name, task.device)
        self.task, self.at_once = task, task.at_once

    @property
    def engine(self) -> Any:
        """What several tasks may share, and is counted once then."""
        return getattr(self.task, "engine", self.task)

    def load(self) -> None:
        self.task.load()

    def memory_bytes(self) -> int:
        return self.task.memory_bytes()

    def limits(self) -> dict[str, int]:
        return self.task.limits()

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        return self.task.answer(rows, parameters, cancel)

    def stream(self, row: Row, parameters: Mapping[str, Any] | None = None, cancel: Cancel = never) -> Iterator[Row]:
        rows: Sequence[Row] = row["rows"]
        if row["order"] is not None:
            return self._conversation(rows[0], row["order"], parameters or {}, cancel)
        if not row["many"]:
            if not row["pieces"] and isinstance(self.task, WritingTask):
                return self._whole(rows[0], parameters, cancel)
            return self.task.stream(rows[0], parameters, cancel)
        return self._all(rows, parameters, cancel)

    def _whole(self, row: Row, parameters: Mapping[str, Any] | None, cancel: Cancel) -> Iterator[Row]:
        """The output row alone; a writing task needs no thread for its pieces then."""
        yield {}  # it has begun
        yield from self.task.run([row], parameters, cancel)

    def _conversation(self, row: Row, order: Row, parameters: Mapping[str, Any], cancel: Cancel) -> Iterator[Row]:
        chat, started = cast("Chatbot", self.task), time.perf_counter()
        (checked,) = chat.check_rows([row])
        result = yield from chat.converse(checked, dict(order), chat.check_parameters(parameters), cancel)
        yield {**result, "model": chat.model_name, "seconds": time.perf_counter() - started}

    def _all(self, rows: Sequence[Row], parameters: Mapping[str, Any] | None, cancel: Cancel) -> Iterator[Row]:
        if rows:
            with _counted_from():
                self.task.check_total(self.task.check_rows(rows), cancel)
        results: list[Row] = []
        size = 1 if self.task.in_pieces(parameters or {}) else ROWS_AT_ONCE
        for start in range(0, len(rows), size):
            if cancel():
                break
            with _counted_from(start, alone=len(rows[start : start + size]) == 1):
                if size == 1:
                    *_, result = self.task.stream(rows[start], parameters, cancel)
                    results.append(result)
                else:
                    results += self.task.run(rows[start : start + size], parameters, cancel)
        yield {"rows": results}


@contextmanager
def _counted_from(start: int = 0, alone: bool = False) -> Iterator[None]:
    """Name rows as the request has them: `inputs[0]` is the first. What is `alone` in its part is not named by it."""
    try:
        yield
    except TaskRowError as error:
        raise TaskInputError(f"inputs[{start + error.row - 1}]: {error.fault}") from None
    except TaskInputError as error:
        if not alone:
            raise
        raise TaskInputError(f"inputs[{start}]: {error}") from None


def check_work(task: type[Task], rows: Sequence[Row], parameters: Mapping[str, Any]) -> None:
    """Check what can be checked without the model: what cannot be answered must not wait for one, nor load it.

    Raises TaskInputError; of several rows it names the one.
    """
    unloaded = task(Path(), "")
    unloaded.check_parameters(parameters)
    with _counted_from():
        unloaded.check_rows(rows)
