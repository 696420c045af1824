"""One language model for both engines."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_gguf import save_both
from tests.support.tiny_models import opened


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of one model as safetensors and as GGUF."""
    safetensors, file = save_both(tmp_path_factory.mktemp("both"))
    return safetensors, file.parent


@pytest.fixture(scope="module")
def pair(both: tuple[Path, Path]) -> Callable[[str], tuple[Any, Any]]:
    """A function that gives a task on transformers and on llama.cpp: each is opened once."""
    return cache(lambda task: tuple(opened(folder, task) for folder in both))


@pytest.fixture(scope="module")
def story(both: tuple[Path, Path]) -> Any:
    """Story completion on llama.cpp."""
    return opened(both[1], "story-completion")
