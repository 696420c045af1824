"""Labeled texts of the user's own as they stand in a file, CSV, TSV or JSONL. Knows no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.config import ConfigError
from experiments.data.files import named_file
from tasks.csv_files import MAX_COLUMNS, CsvTable, TableError, read_table
from tasks.json_files import parse_json

MAX_ROWS, MAX_BYTES = 1_000_000, 500 * 10**6
JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class TextFile:
    """A file's rows.

    Attributes:
        rows: `line` (of the file, from 1) and a column of texts for each wanted one; empty where the file has nothing.
        columns: what each of them is called in the file.
        broken: lines that could not be read.
    """

    path: Path
    rows: pd.DataFrame
    columns: Mapping[str, str]
    broken: tuple[int, ...]


def file_named(data: str, valid: str = "a CSV, TSV or JSONL file") -> Path:
    """The file that `data` names. Raises ConfigError, in one line, if there is none or it is too large."""
    return named_file("data", data, valid, MAX_BYTES)


def columns_in(data: str) -> tuple[str, ...]:
    """The names of the columns of the file that `data` names. Raises ConfigError, in one line."""
    return _table(file_named(data), ())[0].header


def read_text_file(data: str, columns: Mapping[str, str]) -> TextFile:
    """The wanted columns of the file that `data` names.

    Args: columns: what each is called in the file, without regard to case.

    Raises ConfigError, in one line, for a file that cannot be used and for a column that it does not have.
    """
    valid = f"a CSV, TSV or JSONL file with the columns {' and '.join(columns.values())}"
    path = file_named(data, valid)
    table, broken = _table(path, tuple(columns.values()))
    try:
        places = table.places(dict.fromkeys(columns, True), columns)
    except TableError as error:
        raise ConfigError(f"data: {path.name}: {error}") from error
    rows = {name: [cells[place] for _, cells in table.rows] for name, place in places.items()}
    frame = pd.DataFrame({"line": [line for line, _ in table.rows], **rows})
    return TextFile(path, frame, {name: table.header[place] for name, place in places.items()}, broken)


def _table(path: Path, wanted: Sequence[str]) -> tuple[CsvTable, tuple[int, ...]]:
    """All that is in a file, and the lines that could not be read. Raises ConfigError."""
    try:
        content = path.read_bytes()
        if path.suffix.lower() in JSON_LINES:
            return _json_lines(content)
        return read_table(content, wanted, max_rows=MAX_ROWS, max_bytes=MAX_BYTES), ()
    except TableError as error:
        raise ConfigError(f"data: {path.name}: {error}") from error
    except OSError as error:
        raise ConfigError(f"data: {path.name} cannot be read: {error.strerror}") from error


def _json_lines(content: bytes) -> tuple[CsvTable, tuple[int, ...]]:
    """A JSON object a line as a table, and the lines that hold none. Raises TableError."""
    if b"\0" in content[:4]:  # JSON begins with an ASCII character
        raise TableError("the file is in UTF-16; valid: JSON lines in UTF-8, so save it as UTF-8")
    objects: list[tuple[int, dict[str, Any]]] = []
    broken, header = [], {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        if len(objects) == MAX_ROWS:
            raise TableError(f"the file has more than {MAX_ROWS:,} rows; valid: at most {MAX_ROWS:,}")
        try:
            found = parse_json(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            objects.append((number, found))
            header |= dict.fromkeys(found)
            if len(header) > MAX_COLUMNS:
                raise TableError(f"the file has more than {MAX_COLUMNS} different keys; valid: at most {MAX_COLUMNS}")
        else:
            broken.append(number)
    if not objects:
        raise TableError('no line holds a JSON object; valid: one in each line, as {"text": "...", "label": "..."}')
    rows = tuple((number, tuple(_cell(one.get(name)) for name in header)) for number, one in objects)
    return CsvTable(tuple(header), rows), tuple(broken)


def _cell(value: Any) -> str:
    """A value as a cell of a table has it: texts as they are, nothing for null, JSON for all else."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
