"""Tiny models in folders, and in a made-up cache of the Hub."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import huggingface_hub
import pytest

from tests.support import tiny_diffusion, tiny_models
from tests.support.registering import COMMIT, Folders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A function that gives the folder of a tiny model by its name; it is not to be changed."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("tiny") / f"tiny-{name}"
        if name == "sd":
            return tiny_diffusion.save(tiny_diffusion.tiny_stable_diffusion(), folder)
        return tiny_models.save(name, folder)

    return cache(make)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Folders) -> Callable[[str, str], Path]:
    """The Hub cannot be reached. A function that puts a tiny model into its cache, under an id."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(hub_id: str, name: str) -> Path:
        repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        return Path(shutil.copytree(tiny(name), repository / "snapshots" / COMMIT))

    return put
