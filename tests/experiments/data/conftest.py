"""Files of MNIST's layout."""

import struct
from pathlib import Path

import pytest

from tests.support.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, cycling, idx


@pytest.fixture(scope="module")
def idx_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files of MNIST's layout and size: black images with one white pixel, labels in turn."""
    folder = tmp_path_factory.mktemp("idx")
    for images, labels, count in ((TRAIN_IMAGES, TRAIN_LABELS, 60_000), (TEST_IMAGES, TEST_LABELS, 10_000)):
        (folder / labels).write_bytes(idx(cycling(count)))
        header = struct.pack(">HBB3I", 0, 8, 3, count, 28, 28)
        with (folder / images).open("wb") as file:  # sparse: the zeros take no room
            file.truncate(len(header) + count * 784)
            file.write(header)
            file.seek(len(header) + 3 * 784 + 5 * 28 + 7)  # image 3, row 5, column 7
            file.write(b"\xff")
    return folder
