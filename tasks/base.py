"""What all tasks share: typed parameters with bounds, checked inputs, one way to run, errors that speak to the user.

This module and the tasks know nothing of MLflow; `tasks.pyfunc` wraps any of them as a registered model.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from tasks.parameters import Parameters, explain, short
from tasks.runtime.memory import memory_bytes, modules_of
from tasks.texts import MAX_TEXT_BYTES, text_fault

MAX_ROWS = 10_000

Row = Mapping[str, Any]
Cancel = Callable[[], bool]
Made = TypeVar("Made")


class TaskInputError(ValueError):
    """An input or parameter that cannot be used. The text names the field and says what is valid."""


class TaskRowError(TaskInputError):
    """One of several rows cannot be used: `row`, counted from 1; `fault` is what is wrong with it."""

    def __init__(self, row: int, count: int, fault: str) -> None:
        super().__init__(f"row {row} of {count}: {fault}")
        self.row, self.fault = row, fault


class TaskStopped(Exception):  # noqa: N818
    """`cancel` turned true before there was anything to answer with."""


class ModelFolderError(Exception):
    """A model's folder is incomplete, damaged, or holds what is never loaded (pickles, code)."""


def never() -> bool:
    """A `cancel` that never turns true."""
    return False


def stop_if(cancel: Cancel) -> None:
    """Raises TaskStopped when `cancel` is true."""
    if cancel():
        raise TaskStopped


class Task(ABC):
    """A model that turns input rows into output rows: list in, list out, always.

    A subclass names its contract (`name`, `inputs`, `parameters`), loads its model once in `load`, and answers checked
    rows in `answer`; one that gives its answer in pieces also defines `stream_answer`. `inputs` maps each column to
    whether it is required; `requirements` names what a registered model of the task needs besides the common packages;
    `at_once` says how many may be answered at the same time once it is loaded. `example` is a row for a first answer
    and for registered models, asked with `example_parameters` (None: the defaults), which only show that a model works.
    """

    name: ClassVar[str]
    inputs: ClassVar[Mapping[str, bool]]
    parameters: ClassVar[type[Parameters]] = Parameters
    requirements: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[Mapping[str, Any]] = {}
    example_parameters: ClassVar[Mapping[str, Any] | None] = None
    at_once: int = 1

    def __init__(self, folder: Path, model_name: str, device: str = "auto") -> None:
        """Args: folder with the model's files; the name that results carry; `auto`, `cpu`, `cuda` or `mps`."""
        self.folder = folder
        self.model_name = model_name
        self.device = device

    @abstractmethod
    def load(self) -> None:
        """Load the model from its folder, in eval mode. Raises ModelFolderError if that is not possible."""

    @abstractmethod
    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        """One output row for each checked input row. Raises TaskInputError for a content that cannot be used.

        What takes long looks at `cancel` between batches, and raises TaskStopped when it is true.
        """

    def stream_answer(
        self,
        row: dict[str, Any],
        parameters: dict[str, Any],
        cancel: Cancel,
    ) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Yield partial events of a checked row as they come, and `return` the output row. By default no events.

        Tasks that give pieces look at `cancel` between tokens or steps and end, when it is true, with what there is.
        """
        yield from ()
        return self.answer([row], parameters, cancel)[0]

    def in_pieces(self, parameters: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether it gives its answer in pieces or steps, where these parameters are set."""
        return type(self).stream_answer is not Task.stream_answer

    def limits(self) -> dict[str, int]:
        """The largest values of parameters that the loaded model can follow, where they are below the task's own."""
        return {}

    @classmethod
    def needs(cls, folder: Path) -> tuple[str, ...]:  # noqa: ARG003
        """Packages that a registered model in a folder needs besides the common ones."""
        return cls.requirements

    def remarks(self, row: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """What an answer says about its own row besides the output: `unknown`, say. By default nothing."""
        return {}

    def memory_bytes(self) -> int:
        """Bytes of the weights in memory: those of every torch module among the task's attributes; 0 before `load`."""
        return memory_bytes(*modules_of(vars(self).values()))

    def run(
        self, rows: Sequence[Row], parameters: Mapping[str, Any] | None = None, cancel: Cancel = never
    ) -> list[dict[str, Any]]:
        """Check, answer, and add to each result `model` and `seconds` (of the whole call, divided by its rows).

        Raises TaskStopped when `cancel` turns true, which is looked at between batches.
        """
        checked_rows = self.check_rows(rows)
        checked_parameters = self.check_parameters(parameters or {})
        started = time.perf_counter()
        rows_ready = self._ready(checked_rows, cancel)
        results = self.answer(rows_ready, checked_parameters, cancel)
        seconds = (time.perf_counter() - started) / max(1, len(results))
        common = {"model": self.model_name, "seconds": seconds}
        return [
            {**result, **self.remarks(row, checked_parameters), **common}
            for row, result in zip(rows_ready, results, strict=True)
        ]

    def stream(self, row: Row, parameters: Mapping[str, Any] | None = None, cancel: Cancel = never) -> Iterator[Row]:
        """Answer one row in pieces: partial events as they come, last the full row as `run` gives it.

        An event is `{"piece": text}`, where the pieces make up the whole text, or `{"step": i, "steps": n}`. Inputs are
        checked at the call, not at the first event. When `cancel` turns true, which is looked at between tokens or
        steps, the stream ends early and its row is marked; TaskStopped is raised if that is before the first of them.
        `seconds` is the time until the row is there.
        """
        checked_rows = self.check_rows([row])
        checked_parameters = self.check_parameters(parameters or {})
        started = time.perf_counter()
        (ready_row,) = self._ready(checked_rows, cancel)
        return self._events(ready_row, checked_parameters, cancel, started)

    def _ready(self, rows: list[dict[str, Any]], cancel: Cancel) -> list[dict[str, Any]]:
        self.check_total(rows, cancel)
        return each_row(rows, lambda row: self.open_row(row, cancel))

    def _events(self, row: dict[str, Any], parameters: dict[str, Any], cancel: Cancel, started: float) -> Iterator[Row]:
        result = yield from self.stream_answer(row, parameters, cancel)
        remarks = self.remarks(row, parameters)
        yield {**result, **remarks, "model": self.model_name, "seconds": time.perf_counter() - started}

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row whose columns are there, with its contents checked. Raises TaskInputError, naming the column.

        Servers check before a request waits for its turn, so this is quick: what takes long is for `open_row`.
        """
        return row

    def check_total(self, rows: list[dict[str, Any]], cancel: Cancel) -> None:  # noqa: B027
        """Refuse checked rows that are too much together, before any of them is opened. By default none are.

        Raises TaskInputError; TaskStopped when `cancel` turns true.
        """

    def open_row(self, row: dict[str, Any], cancel: Cancel) -> dict[str, Any]:  # noqa: ARG002
        """A checked row as `answer` takes it: with its picture decoded, say. By default the row as it is.

        Raises TaskInputError; TaskStopped when `cancel` turns true.
        """
        return row

    def check_rows(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """The rows with the task's columns only. Raises TaskInputError for none, too many, or missing columns."""
        if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence):
            raise TaskInputError(f"the input is {short(rows)}; valid: a list of rows")
        if not 1 <= len(rows) <= MAX_ROWS:
            raise TaskInputError(f"{len(rows)} rows; valid: 1 to {MAX_ROWS}")
        return each_row(rows, lambda row: self.check_row(self._columns(row)))

    def _columns(self, row: Any) -> dict[str, Any]:
        """The task's columns of a row. Raises TaskInputError if there is nothing in a required one."""
        takes = f"{self.name} takes {', '.join(self.inputs)}"
        if not isinstance(row, Mapping):
            raise TaskInputError(f"a row is {short(row)}; valid: an object with {', '.join(self.inputs)}")
        columns = {}
        for column, required in self.inputs.items():
            value = row.get(column)
            missing = value is None or (isinstance(value, float) and math.isnan(value))  # so tables mark it
            if missing and required:
                raise TaskInputError(
                    f"column {column!r} is missing; {takes}"
                    if column not in row
                    else f"{column} is empty ({value}); {takes}"
                )
            columns[column] = None if missing else value
        return columns

    def check_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters with defaults filled in. Raises TaskInputError for unknown names and values out of range."""
        if not isinstance(given, Mapping):
            raise TaskInputError(f"parameters is {short(given)}; valid: an object of names and values")
        try:
            return self.parameters.model_validate(dict(given)).model_dump()
        except ValidationError as error:
            raise TaskInputError(explain(error, self.parameters)) from None


@contextmanager
def naming_row(number: int, count: int) -> Iterator[None]:
    """Errors in one of several rows, counted from 1, say in which."""
    try:
        yield
    except TaskInputError as error:
        if count == 1 or isinstance(error, TaskRowError):
            raise
        raise TaskRowError(number, count, str(error)) from error


@contextmanager
def naming_part(first: int, count: int) -> Iterator[None]:
    """Errors in a part of `count` rows, which begins with row `first` (from 1), name their row among all rows."""
    try:
        yield
    except TaskInputError as error:
        row, fault = (error.row, error.fault) if isinstance(error, TaskRowError) else (1, str(error))
        raise (TaskRowError(first + row - 1, count, fault) if count > 1 else TaskInputError(fault)) from error


def each_row(rows: Sequence[Any], make: Callable[[Any], Made]) -> list[Made]:
    """What `make` makes of each row, one at a time. An error in one of several rows says in which."""
    made = []
    for number, row in enumerate(rows, 1):
        with naming_row(number, len(rows)):
            made.append(make(row))
    return made


def check_text(field: str, value: Any) -> str:
    """A user's text as plain str. Raises TaskInputError for what is no text, has none, or is longer than 1 MB."""
    if not isinstance(value, str):
        raise TaskInputError(f"{field} is {short(value)}; valid: text")
    fault = text_fault(value) or (None if value.strip() else "is empty" if not value else "is only white space")
    if fault:
        raise TaskInputError(f"{field} {fault}; valid: text of 1 character to {MAX_TEXT_BYTES // 2**20} MB")
    return str(value)  # pandas and NumPy have kinds of str of their own


def first_line(error: Exception) -> str:
    """What an error says, in one line that is not too long."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 200 else line[:197] + "..."
