"""Stores of checkpoints."""

from pathlib import Path

import pytest

from experiments.tracking.checkpoint import CheckpointStore
from tests.support.checkpoints import tensors, values


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def three(checkpoints: CheckpointStore) -> CheckpointStore:
    """A store with epochs 1 to 3; the best is 1, then 2, then 2."""
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        checkpoints.save(epoch, tensors(epoch), values(epoch, best))
    return checkpoints
