"""A folder of results for the tests of grids without MLflow."""

import shutil
from pathlib import Path

import pytest

from experiments.comparison import duration as durations
from tests.support.offline_grids import offline


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a whole grid; not to be changed."""
    out = tmp_path_factory.mktemp("offline") / "results"
    assert not offline(out).failures
    return out


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate of what a grid takes has tests of its own."""
    monkeypatch.setattr(durations, "seconds_per_example", lambda _: 1e-4)
