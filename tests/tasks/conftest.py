"""Tiny text models, made once for all tests of tasks."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that gives the folder of a tiny model by its name; it is not to be changed."""
    from tests.support.tiny_models import save

    return cache(lambda name: save(name, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def tiny_task(tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function that gives a task with a tiny model, loaded, by the names of both."""
    from tests.support.tiny_models import opened

    @cache
    def get(task: str, model: str) -> Any:
        folder = shutil.copytree(tiny_folder(model), tmp_path_factory.mktemp(task) / "model")
        return opened(folder, task, model)

    return get


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Stable Diffusion; it is not to be changed."""
    from tests.support.tiny_diffusion import save, tiny_stable_diffusion

    return save(tiny_stable_diffusion(), tmp_path_factory.mktemp("model") / "tiny-sd")


@pytest.fixture
def folder(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a tiny language model that a test may spoil."""
    return Path(shutil.copytree(tiny_folder("gpt2"), tmp_path / "model"))
