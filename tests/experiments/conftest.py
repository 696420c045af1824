"""Fixtures of the tests of the programs: an accelerator, and figures that are composed, but not rendered."""

from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from matplotlib.figure import Figure
from PIL import Image

from experiments.training import devices
from experiments.training.devices import make_accelerator

# Tiny tensors are fastest on one thread, and tests then do not disturb each other.
devices.ALL_THREADS = 1


@pytest.fixture
def accelerator() -> Accelerator:
    return make_accelerator("cpu", "fp32")


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering takes most of the time of a tiny training: only tests marked `figures` do it."""

    def save_blank(_figure: Figure, path: Path, **_: Any) -> None:
        Image.new("L", (400, 300)).save(path)

    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr(Figure, "savefig", save_blank)
