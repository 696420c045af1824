"""Checkpoints are written whole or not at all, at whatever moment it ends."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from experiments.tracking.checkpoint import CheckpointError, CheckpointStore
from tests.support.checkpoints import assert_is, flip, newest, tensors, values


def fail_at(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, call: int, error: BaseException) -> None:
    """Let the call number `call` (from 0) of `target.name` raise."""
    original, calls = getattr(target, name), iter(range(1_000_000))

    def failing(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise error
        return original(*args, **options)

    monkeypatch.setattr(target, name, failing)


DISK_FULL = OSError(errno.ENOSPC, "No space left on device")
# Four files are synced, then the folder is renamed; `os.fsync` number 4 is that of the parent folder.
MOMENTS = [(Path, "mkdir", 0), *((os, "fsync", call) for call in range(4)), (Path, "rename", 0)]


@pytest.mark.parametrize(("target", "name", "call"), MOMENTS)
@pytest.mark.parametrize("error", [DISK_FULL, KeyboardInterrupt()], ids=["disk full", "interrupted"])
def test_a_save_cut_off_at_any_moment_leaves_the_earlier_checkpoints(
    three: CheckpointStore, target: Any, name: str, call: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, target, name, call, error)
        with pytest.raises(CheckpointError if error is DISK_FULL else KeyboardInterrupt) as caught:
            three.save(4, tensors(4), values(4))
    if error is DISK_FULL:
        assert str(three.folder) in str(caught.value) and str(three.path(3)) in str(caught.value)
        assert "No space left" in str(caught.value)
        assert not list(three.folder.glob(".*"))
    assert three.epochs() == [1, 2, 3]
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 3)
    assert warnings == []
    three.save(4, tensors(4), values(4))
    three.prune({4})
    assert [path.name for path in three.folder.iterdir()] == ["epoch-0004"]
    assert_is(three.load(4), 4)


@pytest.mark.parametrize("moment", range(8))
def test_replacing_a_checkpoint_can_be_cut_off_at_any_moment(
    three: CheckpointStore, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, name, call = (os, "fsync", moment) if moment < 5 else (Path, "rename", moment - 5)
    with monkeypatch.context() as patch:
        fail_at(patch, target, name, call, KeyboardInterrupt())
        try:
            three.save(3, tensors(3), values(3, best=2))
        except KeyboardInterrupt:
            pass
        else:
            assert moment == 7
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 3 if 3 in three.epochs() else 2)
    assert warnings == []


def test_saving_an_epoch_again_replaces_it(three: CheckpointStore) -> None:
    flip(three.path(3) / "model.safetensors", -1)
    three.save(3, tensors(3), values(3, best=3))
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 3)
    assert checkpoint is not None and checkpoint.values["best"] == 3 and warnings == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path / 'file'))}.*there is none before it"):
        CheckpointStore(tmp_path / "file").save(1, tensors(1), values(1))
