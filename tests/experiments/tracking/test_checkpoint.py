"""Checkpoints: whole or not there, whatever happens to the disk or the process in between."""

import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from experiments.tracking.checkpoint import CheckpointError, CheckpointStore
from tests.support.checkpoints import assert_is, flip, newest, tensors, values

MANIFEST = "manifest.json"
FILES = ["model.safetensors", "optimizer.safetensors", "state.json", MANIFEST]


def test_what_was_saved_is_loaded_bit_for_bit_from_safetensors_and_json(checkpoints: CheckpointStore) -> None:
    checkpoints.save(7, tensors(7), values(7))
    checkpoint = checkpoints.load(7)
    assert_is(checkpoint, 7)
    assert checkpoint.values == values(7)
    assert sorted(path.name for path in checkpoints.path(7).iterdir()) == sorted(FILES)
    assert not any(path.read_bytes().startswith((b"\x80", b"PK")) for path in checkpoints.path(7).iterdir())


@pytest.mark.parametrize("name", FILES[:3])
def test_a_flipped_bit_anywhere_is_refused_naming_the_file(checkpoints: CheckpointStore, name: str) -> None:
    checkpoints.save(1, tensors(1), values(1))
    file = checkpoints.path(1) / name
    for position in range(0, file.stat().st_size, 5):
        flip(file, position)
        with pytest.raises(CheckpointError, match=re.escape(str(file))):
            checkpoints.load(1)
        flip(file, position)
    assert_is(checkpoints.load(1), 1)


def test_a_flipped_bit_in_the_manifest_is_refused_or_changes_nothing(checkpoints: CheckpointStore) -> None:
    checkpoints.save(1, tensors(1), values(1))
    manifest = checkpoints.path(1) / "manifest.json"
    refused = 0
    for position in range(manifest.stat().st_size):
        flip(manifest, position)
        try:
            assert_is(checkpoints.load(1), 1)
        except CheckpointError as error:
            assert str(checkpoints.path(1)) in str(error)
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
    *b'|{|[]|null|3|"text"|\xff\xfe|{}|{"epoch": 1}|{"epoch": 3, "sha256": []}'.split(b"|"),
    *(b'{"epoch": 3, "sha256": ["state.json"]}', b'{"epoch": 3, "sha256": {}}', b'{"epoch": 3, "sha256": 5}', DEEP),
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


def test_epochs_past_9999_stay_in_order(checkpoints: CheckpointStore) -> None:
    for epoch in (99_999, 9_999, 10_000):
        checkpoints.save(epoch, tensors(1), values(1))
    assert checkpoints.epochs() == [9_999, 10_000, 99_999]
