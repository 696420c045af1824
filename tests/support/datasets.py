"""Made-up files of published data sets."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from experiments.data.sources import DataError, load_raw

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def cycling(count: int, classes: int = 10) -> np.ndarray:
    return (np.arange(count) % classes).astype(np.uint8)


def assert_refused(dataset: str, data_dir: Path, file: Path | str, reason: str = "") -> None:
    """Reading fails with a DataError that names the file, says what is wrong, and offers the way out."""
    with pytest.raises(DataError, match=f"{re.escape(str(file))}.*{reason}") as caught:
        load_raw(dataset, str(data_dir))
    assert "dataset=digits" in str(caught.value)
    assert "\n" not in str(caught.value)
