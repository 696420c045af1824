"""A registry with tiny models of every evaluated task, and pictures beside a CSV file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.evaluation import measure
from tests.support.evaluating import written


@pytest.fixture(scope="session")
def stocked(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a registry with tiny models of every task."""
    import mlflow

    from tests.support.evaluated_models import stock

    folder = tmp_path_factory.mktemp("registry")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        stock(folder)
        mlflow.set_tracking_uri(None)
    return folder / "mlflow.db"


@pytest.fixture
def shelf(stocked: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of the test's own whose registry has the models; few single requests are timed."""
    (store / "mlflow.db").write_bytes(stocked.read_bytes())
    monkeypatch.setattr(measure, "REQUESTS", 4)
    yield store


@pytest.fixture
def pictures(shelf: Path) -> Callable[..., str]:
    """A function that writes a CSV file of digits beside their pictures."""

    def write(*lines: str) -> str:
        generator = np.random.default_rng(0)
        (shelf / "images").mkdir(exist_ok=True)
        for number in range(3):
            pixels = generator.integers(256, size=(32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(shelf / "images" / f"{number}.png")
        return written(shelf / "digits.csv", "image,label", *lines)

    return write
