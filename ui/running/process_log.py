"""The end of a program's log, made fit to be shown: bounded however long the log is, without codes for a terminal."""

import os
import re
from pathlib import Path

from ui.plain import visible

MOST_BYTES = 64 * 1024
MOST_LINES = 200
MOST_CHARACTERS = 400  # of a line
ESCAPE_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def read_tail(path: Path, lines: int = MOST_LINES) -> str:
    """The last lines of a log; empty for one that is empty or not there."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    whole = ESCAPE_CODES.sub("", text).split("\n")
    if size > MOST_BYTES and len(whole) > 1:
        del whole[0]  # of which the beginning is missing
    shown = [_shortened(_drawn_last(line)) for line in whole]
    while shown and not shown[-1].strip():
        shown.pop()
    return visible("\n".join(shown[-lines:]))


def _drawn_last(line: str) -> str:
    """Of a line that was drawn over (a progress bar), what was drawn last."""
    return line.rstrip("\r").rpartition("\r")[2]


def _shortened(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]} ..."
