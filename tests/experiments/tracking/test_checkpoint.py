"""Checkpoints: whole or not there, whatever happens to the disk or the process in between."""

import errno
import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.tracking.checkpoint import Checkpoint, CheckpointError, CheckpointStore

Tensors = dict[str, dict[str, torch.Tensor]]


def tensors(epoch: int) -> Tensors:
    generator = torch.Generator().manual_seed(epoch)
    return {
        "model": {
            "weight": torch.randn(2, 3, generator=generator),
            "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
            "half": torch.randn(5, generator=generator).bfloat16(),
            "count": torch.tensor(epoch),
            "channels_last": torch.randn(2, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last),
        },
        "optimizer": {"0.step": torch.tensor(float(epoch)), "0.empty": torch.zeros(0, 3)},
    }


def values(epoch: int, best: int = 1) -> dict[str, Any]:
    return {"history": [{"val_loss": 1 / 3 * number} for number in range(epoch)], "best": best, "none": None}


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def three(store: CheckpointStore) -> CheckpointStore:
    """A store with epochs 1 to 3; the best is 1, then 2, then 2."""
    for epoch, best in ((1, 1), (2, 2), (3, 2)):
        store.save(epoch, tensors(epoch), values(epoch, best))
    return store


def assert_is(checkpoint: Checkpoint | None, epoch: int) -> None:
    assert checkpoint is not None
    assert checkpoint.epoch == epoch
    for part, expected in tensors(epoch).items():
        assert set(checkpoint.tensors[part]) == set(expected)
        for name, tensor in expected.items():
            loaded = checkpoint.tensors[part][name]
            assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
            as_bytes = [one.contiguous().reshape(-1).view(torch.uint8) for one in (loaded, tensor)]
            assert torch.equal(*as_bytes), f"{part} {name}"


def newest(store: CheckpointStore) -> tuple[Checkpoint | None, list[str]]:
    warnings: list[str] = []
    return store.load_newest(lambda checkpoint: checkpoint.values["best"], warnings.append), warnings


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


MANIFEST = "manifest.json"
FILES = ["model.safetensors", "optimizer.safetensors", "state.json", MANIFEST]


def test_what_was_saved_is_loaded_bit_for_bit_from_safetensors_and_json(store: CheckpointStore) -> None:
    store.save(7, tensors(7), values(7))
    checkpoint = store.load(7)
    assert_is(checkpoint, 7)
    assert checkpoint.values == values(7)
    assert sorted(path.name for path in store.path(7).iterdir()) == sorted(FILES)
    assert not any(path.read_bytes().startswith((b"\x80", b"PK")) for path in store.path(7).iterdir())


@pytest.mark.parametrize("name", FILES[:3])
def test_a_flipped_bit_anywhere_is_refused_naming_the_file(store: CheckpointStore, name: str) -> None:
    store.save(1, tensors(1), values(1))
    file = store.path(1) / name
    for position in range(0, file.stat().st_size, 5):
        flip(file, position)
        with pytest.raises(CheckpointError, match=re.escape(str(file))):
            store.load(1)
        flip(file, position)
    assert_is(store.load(1), 1)


def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing(store: CheckpointStore) -> None:
    store.save(1, tensors(1), values(1))
    manifest = store.path(1) / "manifest.json"
    refused = 0
    for position in range(manifest.stat().st_size):
        flip(manifest, position)
        try:
            assert_is(store.load(1), 1)
        except CheckpointError as error:
            assert str(store.path(1)) in str(error)
            refused += 1
        flip(manifest, position)
    assert refused > 3 * 64, "at least every letter of three hashes"


def put(store: CheckpointStore, name: str, content: bytes) -> None:
    """Put a file into the checkpoint of epoch 3; all but a manifest with a hash that matches."""
    folder = store.path(3)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    if name != MANIFEST:
        hashes = json.loads((folder / MANIFEST).read_bytes())["sha256"]
        hashes[name] = hashlib.sha256(content).hexdigest()
        (folder / MANIFEST).write_text(json.dumps({"epoch": 3, "sha256": hashes}))


def truncate(store: CheckpointStore, name: str) -> None:
    file = store.path(3) / name
    file.write_bytes(file.read_bytes()[:-3])


def make_folder(store: CheckpointStore, name: str) -> None:
    (store.path(3) / name).unlink()
    (store.path(3) / name).mkdir()


def remove(store: CheckpointStore, name: str) -> None:
    (store.path(3) / name).unlink()


DEEP = b"[" * 100_000
NO_MANIFESTS = [
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"epoch": 1}',
        b'{"epoch": 3, "sha256": []}',
        DEEP,
    ),
    *(b'{"epoch": 3, "sha256": ["state.json"]}', b'{"epoch": 3, "sha256": {}}', b'{"epoch": 3, "sha256": 5}'),
    *(b'{"epoch": 3, "sha256": {"state.json": ' + DEEP, b'{"epoch": ' + b"9" * 5000 + b"}"),
]
NO_WEIGHTS = [b"", b"no weights", b"\xff" * 8 + b"{}", b"\x02" + b"\0" * 7 + b"{", pickle.dumps(1)]
NO_STATES = [DEEP, b"3", b"null", b"\xff", b"9" * 5000]
DAMAGES = [
    *((name, damage) for damage in (truncate, make_folder, remove) for name in FILES),
    *((MANIFEST, partial(put, content=content)) for content in NO_MANIFESTS),
    *((FILES[1], partial(put, content=content)) for content in NO_WEIGHTS),
    *(("state.json", partial(put, content=content)) for content in NO_STATES),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_is_refused_by_the_file_and_passed_over(
    three: CheckpointStore, name: str, damage: Callable[[CheckpointStore, str], None]
) -> None:
    damage(three, name)
    with pytest.raises(CheckpointError, match=re.escape(str(three.path(3) / name))) as refused:
        three.load(3)
    assert "\n" not in str(refused.value)
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 2)
    assert warnings == [f"epoch 3 cannot be used: {refused.value}"]


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"history": []}'])
def test_a_state_that_tells_no_best_epoch_is_passed_over(three: CheckpointStore, content: bytes) -> None:
    put(three, "state.json", content)
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 2)
    assert len(warnings) == 1 and str(three.path(3)) in warnings[0] and "\n" not in warnings[0]


@pytest.mark.parametrize("name", ["../secret.safetensors", "sub/model.safetensors", "../epoch-0002/model.safetensors"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused_and_it_is_not_read(
    three: CheckpointStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(three, name, (three.path(2) / "model.safetensors").read_bytes())
    read: list[Path] = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or original(path))
    with pytest.raises(CheckpointError, match=re.escape(str(three.path(3) / MANIFEST))):
        three.load(3)
    assert {path.resolve().parent for path in read} == {three.path(3)}


def test_a_checkpoint_under_the_name_of_another_epoch_is_refused(three: CheckpointStore) -> None:
    shutil.copytree(three.path(2), three.path(4))
    with pytest.raises(CheckpointError, match=re.escape(str(three.path(4)))):
        three.load(4)
    assert_is(newest(three)[0], 3)


def test_the_newest_is_loaded_without_a_warning(three: CheckpointStore) -> None:
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 3)
    assert warnings == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_checkpoint_whose_best_epoch_is_damaged_or_gone_is_passed_over(three: CheckpointStore, gone: bool) -> None:
    damaged = three.path(2) / "model.safetensors"
    flip(damaged, -1)
    if gone:
        shutil.rmtree(three.path(2))
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 1)
    assert len(warnings) == (1 if gone else 2) and all(str(three.path(2)) in warning for warning in warnings)


def test_no_usable_checkpoint_is_an_error_and_no_checkpoint_is_none(three: CheckpointStore) -> None:
    for epoch in three.epochs():
        flip(three.path(epoch) / "state.json", 5)
    with pytest.raises(CheckpointError, match=re.escape(str(three.folder))):
        newest(three)
    assert newest(CheckpointStore(three.folder / "empty")) == (None, [])


@pytest.mark.parametrize("name", ["epoch-old", "epoch-0003.bak", "epoch-"])
def test_a_foreign_folder_is_not_taken_for_a_checkpoint(three: CheckpointStore, name: str) -> None:
    (three.folder / name).mkdir()
    assert three.epochs() == [1, 2, 3]
    three.prune({3})
    assert_is(three.load(3), 3)
    assert (three.folder / name).exists()


def test_prune_keeps_what_it_is_told_and_clears_leftovers(three: CheckpointStore) -> None:
    (three.folder / ".writing-123").mkdir()
    (three.folder / ".writing-123" / "model.safetensors").write_bytes(b"half")
    (three.folder / ".removing-1").mkdir()
    three.prune({2, 3, 99})
    assert sorted(path.name for path in three.folder.iterdir()) == ["epoch-0002", "epoch-0003"]
    three.prune([])
    assert three.epochs() == []


def test_saving_an_epoch_again_replaces_it(three: CheckpointStore) -> None:
    flip(three.path(3) / "model.safetensors", -1)
    three.save(3, tensors(3), values(3, best=3))
    checkpoint, warnings = newest(three)
    assert_is(checkpoint, 3)
    assert checkpoint is not None and checkpoint.values["best"] == 3 and warnings == []


def test_epochs_past_9999_stay_in_order(store: CheckpointStore) -> None:
    for epoch in (99_999, 9_999, 10_000):
        store.save(epoch, tensors(1), values(1))
    assert store.epochs() == [9_999, 10_000, 99_999]


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
    three: CheckpointStore,
    target: Any,
    name: str,
    call: int,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
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


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path / 'file'))}.*there is none before it"):
        CheckpointStore(tmp_path / "file").save(1, tensors(1), values(1))
