"""JSON from elsewhere: whatever is wrong with it is an OSError or a ValueError, with a text of one line."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises OSError, or ValueError as `parse_json` does."""
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for bytes that are not UTF-8 and for deep nesting."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
