"""The user's CSV read as rows of a task; what is wrong with it is a one-line error. No Streamlit here."""

import base64
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.csv_files import CsvTable, TableError, read_integers, read_table
from ui.answers.tables import as_csv

MAX_ROWS = 1_000
MAX_MB = 20
MAX_PICTURES_MB = 200
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


@dataclass(frozen=True)
class BatchLine:
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


def read_batch(content: bytes, task: str, inputs: Mapping[str, bool]) -> CsvTable:
    """An uploaded file as a table. Raises TableError."""
    return read_table(content, tuple(columns_of(task, inputs)), max_rows=MAX_ROWS, max_bytes=MAX_MB * 2**20)


def missing_columns(table: CsvTable, task: str, inputs: Mapping[str, bool]) -> list[str]:
    """The columns that a task needs and a file does not have under their names."""
    columns = columns_of(task, inputs)
    there = {name.casefold() for name in table.header}
    if "messages" in there and task in NATURAL:  # a whole conversation stands for a message
        return []
    return [column for column, required in columns.items() if required and column not in there]


def read_lines(
    table: CsvTable, task: str, inputs: Mapping[str, bool], chosen: Mapping[str, str] | None = None
) -> list[BatchLine]:
    """The rows of a file. Columns that the task does not know are kept for the results.

    Args: chosen: columns of the file that stand for the task's. Raises TableError for a column that is not there.
    """
    columns = columns_of(task, inputs)
    missing = missing_columns(table, task, inputs)
    places = table.places({column: column in missing for column in columns}, chosen)
    lines = []
    for _, cells in table.rows:
        row, fault = _row(task, {column: cells[place] for column, place in places.items()}, columns)
        lines.append(BatchLine(dict(zip(table.header, cells, strict=True)), row, fault))
    return lines


def read_pictures(files: Sequence[tuple[str, bytes]]) -> list[BatchLine]:
    """Pictures, and those in zips among them, as rows with the column `file`. Raises TableError."""
    lines, total = [], 0
    for name, content in _unpacked(files):
        total += len(content)
        if len(lines) == MAX_ROWS or total > MAX_PICTURES_MB * 2**20:
            raise TableError(f"more than {MAX_ROWS:,} files or {MAX_PICTURES_MB} MB; valid: at most that many at once")
        lines.append(BatchLine({"file": name}, {"image": base64.b64encode(content).decode()}))
    if not lines:
        raise TableError("there are no files in it; valid: PNG and JPEG, or a zip of them")
    return lines


def _unpacked(files: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    for name, content in files:
        if not name.lower().endswith(".zip"):
            yield name, content
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for member in archive.infolist():
                    if not member.is_dir() and not any(
                        part.startswith((".", "__")) for part in member.filename.split("/")
                    ):
                        with archive.open(member) as file:
                            yield member.filename, file.read(MAX_MB * 2**20 + 1)
        except (OSError, RuntimeError, UnicodeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
            raise TableError(f"{name} cannot be unpacked ({error}); valid: a whole zip without a password") from error


def _row(task: str, cells: Mapping[str, str], columns: Mapping[str, bool]) -> tuple[dict[str, Any], str]:
    """The cells as the task takes them, and why that is not possible, if so."""
    # An empty cell is an empty text, not a missing column; where the column is optional, it is nothing.
    row: dict[str, Any] = {column: text if text or columns[column] else None for column, text in cells.items()}
    if task == "chatbot":
        if cells.get("messages"):
            return {"messages": cells["messages"]}, ""
        said = (("system", cells.get("system", "")), ("user", cells.get("message", "")))
        return {"messages": [{"role": role, "content": text} for role, text in said if text or role == "user"]}, ""
    if task == "sequence-reversal":
        try:
            row["sequence"] = read_integers(cells["sequence"])
        except TableError as error:
            return row, f"sequence: {error}"
    return row, ""
