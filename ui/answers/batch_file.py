"""A person's CSV read as rows of a task, with what is wrong with it said in words. No Streamlit here."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui.answers.tables import as_csv

MAX_ROWS = 1_000
MAX_MB = 20
MAX_COLUMNS = 50
# Columns that people have, for those of a task that no table holds well; `system` may come with a message.
NATURAL = {"chatbot": {"message": True, "system": False, "messages": False}}
SAMPLES = {
    "text": "The film was far better than I had expected.",
    "question": "Who wrote the book?",
    "context": "Ada Lovelace wrote the book in 1843, in London.",
    "message": "What is a neural network?",
    "system": "Answer in one sentence.",
    "sequence": "3 1 4 1 5",
    "prompt": "a lighthouse at night, oil painting",
}


class BatchFileError(ValueError):
    """A file that cannot be used as a batch. The text says where and why, and what is valid."""


@dataclass(frozen=True)
class Line:
    """A row of the file: as it was (`given`, all columns), and as the task takes it; `fault` says why it cannot."""

    given: dict[str, str]
    row: dict[str, Any]
    fault: str = ""


def columns_of(task: str, inputs: Mapping[str, bool]) -> dict[str, bool]:
    """The columns that a file has for a task, and whether each is required."""
    return dict(NATURAL.get(task, inputs))


def template(task: str, inputs: Mapping[str, bool]) -> bytes:
    """A CSV to fill in: its columns, and a row where an example can be written down (pictures cannot)."""
    columns = [name for name in columns_of(task, inputs) if name != "messages"]
    return as_csv([{column: SAMPLES.get(column, "") for column in columns}])


def read_lines(content: bytes, task: str, inputs: Mapping[str, bool]) -> list[Line]:
    """The rows of an uploaded file.

    It is UTF-8 with or without a mark at its beginning, with commas or semicolons between cells and a header. Columns
    that the task does not know are kept for the results. Raises BatchFileError.
    """
    columns = columns_of(task, inputs)
    header, records = _table(_text(content), columns)
    names = [name.casefold() for name in header]
    known = {column: names.index(column) for column in columns if column in names}
    missing = [column for column, required in columns.items() if required and column not in known]
    if "messages" in known:  # a whole conversation stands for a message
        missing = [column for column in missing if column not in NATURAL.get(task, {})]
    if missing:
        raise BatchFileError(
            f"column {missing[0]!r} is missing; the file has {_listed(header)}, needed: "
            f"{', '.join(column for column, required in columns.items() if required)}"
        )
    lines = []
    for number, cells in records:
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) > len(header):
            raise BatchFileError(f"line {number} has {len(cells)} cells, but the header has {len(header)}")
        cells = [*cells, *[""] * (len(header) - len(cells))]
        row, fault = _row(task, {column: cells[place] for column, place in known.items()})
        lines.append(Line(dict(zip(header, cells, strict=True)), row, fault))
    return lines


def _text(content: bytes) -> str:
    if len(content) > MAX_MB * 2**20:
        raise BatchFileError(f"the file has {len(content) / 2**20:.0f} MB; valid: at most {MAX_MB} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BatchFileError(f"line {line} is not UTF-8; save the file as CSV UTF-8 and upload it again") from error
    if not text.strip():
        raise BatchFileError("the file is empty; valid: a CSV with a header and at least one row")
    if "\0" in text:
        raise BatchFileError("the file has NUL characters: it is no CSV, or not in UTF-8; save it as CSV UTF-8")
    return text


def _table(text: str, columns: Mapping[str, bool]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the rows that are not blank, with the numbers of the lines that they end on."""
    delimiter = _delimiter(text, columns)
    csv.field_size_limit(MAX_MB * 2**20)  # pictures are longer than what Python allows by itself
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    records = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(cells)
            else:
                records.append((reader.line_num, cells))
    except csv.Error as error:
        raise BatchFileError(f"line {reader.line_num} is no CSV: {error}") from error
    if not records:
        raise BatchFileError("the file has a header but no rows; valid: at least one row")
    if len(records) > MAX_ROWS:
        raise BatchFileError(f"the file has {len(records):,} rows; valid: at most {MAX_ROWS:,}")
    return header, records


def _delimiter(text: str, columns: Mapping[str, bool]) -> str:
    """A comma or a semicolon: the one that divides the first line into more of the columns that are looked for."""
    first = text.strip().splitlines()[0]

    def found(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip().strip('"').strip().casefold() for cell in first.split(delimiter)]
        return len(set(cells) & set(columns)), len(cells)

    return max(",;", key=found)


def _header(cells: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    while header and not header[-1]:  # spreadsheets leave empty columns at the end
        header.pop()
    if len(header) > MAX_COLUMNS:
        raise BatchFileError(f"the file has {len(header)} columns; valid: at most {MAX_COLUMNS}")
    for place, name in enumerate(header):
        if not name:
            raise BatchFileError(f"column {place + 1} has no name in the header")
        if name.casefold() in [other.casefold() for other in header[:place]]:
            raise BatchFileError(f"two columns are called {name[:40]!r}; valid: each name once")
    return header


def _listed(header: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in header[:8])
    return f"{shown}, ..." if len(header) > 8 else shown


def _row(task: str, cells: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The cells as the task takes them, and why that is not possible, if so."""
    row: dict[str, Any] = {column: text or None for column, text in cells.items()}
    if task == "chatbot":
        if cells.get("messages"):
            return {"messages": cells["messages"]}, ""
        said = (("system", cells.get("system", "")), ("user", cells.get("message", "")))
        return {"messages": [{"role": role, "content": text} for role, text in said if text or role == "user"]}, ""
    if task == "sequence-reversal":
        try:
            row["sequence"] = [int(part) for part in cells["sequence"].strip("[] \t").replace(",", " ").split()]
        except ValueError:
            return row, f"sequence is {cells['sequence'][:40]!r}; valid: whole numbers with blanks between, as in 3 1 4"
    return row, ""
