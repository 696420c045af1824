"""Users' CSV files as tables: encoding, separator, header; faults are reported in one line."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_COLUMNS = 500
SEPARATORS = ",;\t|"
# The separator that the first line declares, as Excel reads it: `sep=;`, perhaps with that of other cells behind it.
DECLARED = re.compile(r"\s*[\"']?sep= *(\\t|[^\w\r\n\"' ])\1*[\"']? *(?:\r\n?|\n|\Z)", re.IGNORECASE)
INDEX = "index"  # what unnamed first columns are called that pandas and R write
UNSEEN = "\ufeff\u200b"  # marks that were at the beginning of a file once


class TableError(ValueError):
    """A file that cannot be used as a table. The text says where and why, and what is valid."""


@dataclass(frozen=True)
class CsvTable:
    """A header, and the rows that are not blank: the number of the line that each ends on, and a cell per column."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def places(self, wanted: Mapping[str, bool], chosen: Mapping[str, str] | None = None) -> dict[str, int]:
        """Where the wanted columns are, by their names without regard to case.

        Args:
            wanted: names, and whether each is required.
            chosen: columns of the file that stand for wanted ones.

        Raises TableError for a required one that is not there.
        """
        names = [name.casefold() for name in self.header]
        found = {}
        for column, required in wanted.items():
            name = (chosen or {}).get(column, column)
            if name.casefold() in names:
                found[column] = names.index(name.casefold())
            elif required or column in (chosen or {}):
                named = {one: (chosen or {}).get(one, one) for one, required in wanted.items() if required}
                needed = ", ".join(there if there == one else f"{there} for {one}" for one, there in named.items())
                raise TableError(
                    f"column {name[:40]!r} is missing; the file has {listed(self.header)}, needed: {needed}"
                )
        return found


def read_table(content: bytes, wanted: Collection[str], *, max_rows: int, max_bytes: int) -> CsvTable:
    """The table in a CSV file with a header.

    It is UTF-8, or UTF-16 with its mark, with commas, semicolons, tabs or bars between cells; a first line `sep=;`
    decides, else the header does, also whether blanks follow them. Rows may lack cells at their end, and have blank
    ones too many. Unnamed first columns are called `index`.

    Args: wanted: columns that are looked for; others may have the same name twice.

    Raises TableError.
    """
    if len(content) > max_bytes:
        raise TableError(f"the file has {len(content) / 2**20:.0f} MB; valid: at most {max_bytes // 2**20} MB")
    text = _text(content)
    lines = io.StringIO(text, newline="")
    declared = DECLARED.match(text)
    begin = declared.end() if declared else 0
    separator = declared[1].replace("\\t", "\t") if declared else _separator(text, wanted)
    skipped = len(re.findall(r"\r\n?|\n", text[:begin]))
    lines.seek(begin)
    form = {"delimiter": separator, "skipinitialspace": _spaced(text[begin:], separator)}
    # Cells with texts and pictures are longer than Python's default limit. (The limit is one for all threads.)
    csv.field_size_limit(max(csv.field_size_limit(), max_bytes))
    try:
        return _read(lines, {**form, "quoting": csv.QUOTE_MINIMAL}, wanted, max_rows, skipped)
    except _NoCsvError as error:
        if separator != "\t":
            raise
        # Programs that write tabs mostly leave quotes as they are.
        lines.seek(begin)
        try:
            return _read(lines, {**form, "quoting": csv.QUOTE_NONE}, wanted, max_rows, skipped)
        except _NoCsvError:
            raise error from None


class _NoCsvError(TableError):
    """Not CSV at all."""


def _text(content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise TableError(f"line {line} is not UTF-8; save the file as CSV UTF-8") from error
    if not text.strip():
        raise TableError("the file is empty; valid: a CSV with a header and at least one row")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TableError(f"line {line} has a NUL character: the file is no CSV, or not in UTF-8; save it as CSV UTF-8")
    return text


def _separator(text: str, wanted: Collection[str]) -> str:
    """The separator that divides the first line into most of the columns that are looked for, else into most cells."""
    first = _first_line(text)
    names = {name.casefold() for name in wanted}

    def found(separator: str) -> tuple[int, int]:
        cells = [_name(cell.strip().strip('"')).casefold() for cell in first.split(separator)]
        return len(set(cells) & names), len(cells)

    return max(SEPARATORS, key=found)


def _first_line(text: str) -> str:
    return next(iter(text.strip("\r\n ").splitlines()), "")


def _spaced(text: str, separator: str) -> bool:
    """Whether a blank follows every separator of the header: quotes may begin behind it then."""
    first = _first_line(text)
    return 0 < first.count(separator) == first.count(f"{separator} ")


def _name(cell: str) -> str:
    return cell.strip().strip(UNSEEN).strip()


def _read(
    lines: io.StringIO, form: Mapping[str, Any], wanted: Collection[str], max_rows: int, skipped: int
) -> CsvTable:
    reader = csv.reader(lines, strict=True, **form)
    header: tuple[str, ...] = ()
    rows = []
    try:
        for cells in reader:
            if not any(_name(cell) for cell in cells):
                continue
            if not header:
                header = _header(cells, wanted)
                continue
            if len(rows) == max_rows:
                raise TableError(f"the file has more than {max_rows:,} rows; valid: at most {max_rows:,}")
            line = reader.line_num + skipped
            rows.append((line, _row(cells, len(header), line)))
    except csv.Error as error:
        raise _NoCsvError(f"line {reader.line_num + skipped} is no CSV: {error}") from error
    if not rows:
        raise TableError("the file has a header but no rows; valid: at least one row")
    return CsvTable(header, tuple(rows))


def _row(cells: list[str], width: int, line: int) -> tuple[str, ...]:
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) > width:
        raise TableError(
            f"line {line} has {len(cells)} cells, but the header has {width}; "
            'texts with separators in them are put in double quotes: "so, like this"'
        )
    return (*cells, *[""] * (width - len(cells)))


def _header(cells: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    header = [_name(cell) for cell in cells]
    while not header[-1]:  # spreadsheets leave empty columns at the end
        header.pop()
    if len(header) > MAX_COLUMNS:
        raise TableError(f"the file has {len(header)} columns; valid: at most {MAX_COLUMNS}")
    needed = {name.casefold() for name in wanted}
    named = next(place for place, name in enumerate(header) if name)
    header[:named] = [INDEX] * named
    names: list[str] = []
    for place, name in enumerate(header, 1):
        if not name:
            raise TableError(f"column {place} has no name in the header")
        taken = {other.casefold() for other in names}
        if name.casefold() in taken and name.casefold() in needed:
            raise TableError(f"two columns are called {name[:40]!r}; valid: each name once")
        number = 2
        unique = name
        while unique.casefold() in taken:
            unique = f"{name} {number}"
            number += 1
        names.append(unique)
    return tuple(names)


def read_integers(cell: str) -> list[int]:
    """A sequence in a cell: whole numbers with blanks or commas between, perhaps in brackets. Raises TableError."""
    numbers = cell.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    for number in numbers:
        if not number.isdecimal() or len(number) > 9:
            raise TableError(
                f"{number[:40]!r} is no whole number from 0; valid: numbers with blanks between, as in 3 1 4"
            )
    return [int(number) for number in numbers]


def listed(header: Sequence[str]) -> str:
    """The first names of a header."""
    shown = ", ".join(name[:40] for name in header[:8])
    return f"{shown}, ..." if len(header) > 8 else shown
