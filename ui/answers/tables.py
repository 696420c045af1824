"""Rows for people to take along: flat tables as CSV, whole ones as JSON. What they hold cannot act in a spreadsheet."""

import base64
import binascii
import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ui.plain import inert_cell, visible

# How the base64 of PNG and JPEG begins, alone or in a data URL.
PICTURE = re.compile(r"(?:data:image/[a-z]+;base64,)?(iVBORw0KGgo|/9j/)")
MAX_CELL = 32_000  # characters; spreadsheets hold 32,767


def picture(value: Any) -> bytes | None:
    """The PNG or JPEG that a value holds as base64 text or bytes, if it holds one."""
    if isinstance(value, bytes):
        return value if value.startswith((b"\x89PNG", b"\xff\xd8")) else None
    match = PICTURE.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return base64.b64decode(value[match.start(1) :], validate=True)
    except binascii.Error:
        return None


def cell(value: Any) -> object:
    """A value of a row as a cell: numbers and short texts as they are, lists as JSON, pictures as their size."""
    if value is None:
        return ""
    content = picture(value)
    if content is not None:
        return f"picture, {len(content) / 1000:.0f} kB"
    if isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else as_json(value, indent=None)
    text = visible(text)
    if len(text) > MAX_CELL:
        text = f"{text[:MAX_CELL]} ... ({len(text):,} characters)"
    return inert_cell(text)


def as_csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as CSV with a column for each key that any of them has, in the order of their first appearance.

    UTF-8 with the mark at its beginning without which Excel does not take it for UTF-8.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def as_json(value: Any, indent: int | None = 1) -> str:
    """A value as JSON; pictures that are bytes as base64."""

    def other(value: Any) -> Any:
        return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=other)
    return text.encode("utf-8", "replace").decode()


def short(value: Any, length: int = 60) -> str:
    """The values of a row in a line: what is most of interest of a list, a picture, a long text is that it is there."""
    if isinstance(value, Mapping):
        parts = [short(part, length) for part in value.values()]
    elif isinstance(value, (list, tuple)) and value and isinstance(value[-1], Mapping):
        parts = [short(value[-1].get("content", value[-1]), length)]  # the last message of a talk
    elif isinstance(value, (list, tuple)):
        parts = [" ".join(str(part) for part in value[:length])]
    elif value is None:
        parts = []
    else:
        content = picture(value)
        parts = ["picture" if content is not None else str(value)[: 4 * length]]
    text = " · ".join(part for part in (" ".join(visible(one).split()) for one in parts) if part)
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."
