"""The local Hub with one model, and a cache of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.hub import fetch
from tests.support.downloads import ID, PARAMETERS
from tests.support.hub_models import transformers_files
from tests.support.local_hub import LocalHub, local_hub, use_in_process


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub() as hub:
        hub.add(ID, {**transformers_files(parameters=PARAMETERS), "README.md": b"hello"})
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        monkeypatch.setattr(fetch.time, "sleep", lambda _seconds: None)  # between tries
        yield hub
