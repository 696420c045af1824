"""Folders of models for tests of what is loaded of them."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from tasks.base import ModelFolderError
from tasks.hub.checks import check_folder


def refusal(folder: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        check_folder(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


def put(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


class Evil:
    """Unpickling this makes a folder: proof that code ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def evil_bytes(name: str, marker: Path) -> bytes:
    """The content of a file of this name, code or a pickle, that makes a folder where it is run or loaded."""
    return f"import os; os.mkdir({str(marker)!r})".encode() if name.endswith(".py") else pickle.dumps(Evil(marker))
