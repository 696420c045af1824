"""Reading published data sets: right content in, and one clear DataError for whatever is wrong with the files."""

import errno
import gzip
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from experiments.data.sources import RawImages, load_raw
from tests.support.datasets import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, assert_refused, cycling, idx
from tests.support.model_folders import Evil

CIFAR_FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
RECORD = 3073


@pytest.fixture
def mnist(idx_files: Path, tmp_path: Path) -> Path:
    """A `data_dir` with the good files as links; a test replaces the one that it damages."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in idx_files.iterdir():
        (raw / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture(scope="module")
def cifar_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of CIFAR-10's binary layout: record 3 has byte 1 * 1024 + 5 * 32 + 7 set: green, row 5, column 7."""
    records = np.zeros((10_000, RECORD), np.uint8)
    records[:, 0] = cycling(10_000)
    records[3, 1 + 1024 + 5 * 32 + 7] = 255
    file = tmp_path_factory.mktemp("cifar") / "batch.bin"
    records.tofile(file)
    return file


@pytest.fixture
def cifar10(cifar_batch: Path, tmp_path: Path) -> Path:
    """A `data_dir` with CIFAR-10's six binary files, all links to one."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in CIFAR_FILES:
        (folder / name).symlink_to(cifar_batch)
    return tmp_path


def test_digits_need_no_files(tmp_path: Path) -> None:
    raw = load_raw("digits", str(tmp_path / "nowhere"))
    assert raw.train_images.shape == (1797, 8, 8, 1)
    assert raw.train_images.dtype == raw.train_labels.dtype == np.uint8
    assert (raw.train_images.min(), raw.train_images.max()) == (0, 255)
    assert set(raw.train_labels) == set(range(10))
    assert raw.test_images is None
    assert raw.verified
    assert not (tmp_path / "nowhere").exists()


def test_own_files_in_the_layout_of_mnist_are_read_and_said_to_be_unverified(mnist: Path) -> None:
    raw = load_raw("mnist", str(mnist))
    assert raw.test_images is not None and raw.test_labels is not None
    assert (raw.train_images.shape, raw.test_images.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    for images, labels in ((raw.train_images, raw.train_labels), (raw.test_images, raw.test_labels)):
        assert np.argwhere(images[:10]).tolist() == [[3, 5, 7, 0]]
        assert np.array_equal(labels, cycling(len(images)))
    assert not raw.verified


def test_gzipped_files_are_read_as_the_plain_ones(mnist: Path) -> None:
    plain = load_raw("mnist", str(mnist)).digest()
    raw = mnist / "MNIST" / "raw"
    for name in (TEST_IMAGES, TRAIN_LABELS):
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes(), 1))
        (raw / name).unlink()
    assert load_raw("mnist", str(mnist)).digest() == plain


def garbled(good: bytes) -> bytes:
    """A gzip file whose compressed blocks have an impossible type."""
    return good[:10] + b"\xff" * 20 + good[30:]


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        (TRAIN_IMAGES, lambda good: good[:1000], "1,000 bytes and should have 47,040,016"),
        (TEST_LABELS, lambda good: good + b"\0", "10,009 bytes and should have 10,008"),
        (TEST_LABELS, lambda _: b"", "header"),
        (TEST_LABELS, lambda _: b"<html>Not found</html>", "header does not say 10000 unsigned bytes"),
        (TEST_LABELS, lambda _: idx(cycling(60_000)), "header does not say 10000"),  # the labels for training
        (TEST_LABELS, lambda good: good[:2] + b"\x0d" + good[3:], "header"),  # 0x0d says floats
        (TRAIN_LABELS, lambda good: good[:-1] + b"\x0a", "label 10, and valid labels are 0 to 9"),
        (TRAIN_LABELS, lambda good: good[:8] + bytes(60_000), "every one of the 10 classes"),
        (f"{TEST_LABELS}.gz", lambda _: b"not gzip", "cannot be read"),
        (f"{TEST_LABELS}.gz", lambda good: gzip.compress(good)[:50], "cannot be read"),
        (f"{TEST_LABELS}.gz", lambda good: garbled(gzip.compress(good)), "cannot be read"),
        (f"{TEST_LABELS}.gz", lambda _: b"", ""),
    ],
)
def test_a_damaged_idx_file_is_named(mnist: Path, name: str, damage: Callable[[bytes], bytes], reason: str) -> None:
    plain = mnist / "MNIST" / "raw" / name.removesuffix(".gz")
    content = plain.read_bytes()
    plain.unlink()
    file = plain.with_name(name)
    file.write_bytes(damage(content))
    assert_refused("mnist", mnist, file, reason)


def test_own_files_in_the_binary_layout_of_cifar10_are_read(cifar10: Path) -> None:
    raw = load_raw("cifar10", str(cifar10))
    assert raw.test_images is not None and raw.test_labels is not None
    assert (raw.train_images.shape, raw.test_images.shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert np.argwhere(raw.train_images[:10]).tolist() == [[3, 5, 7, 1]]
    assert np.array_equal(raw.train_labels, cycling(50_000))
    assert np.array_equal(raw.test_labels, cycling(10_000))
    assert not raw.verified


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("data_batch_1.bin", lambda good: good[:-1], "30,729,999 bytes and should have 30,730,000"),
        ("test_batch.bin", lambda good: b"\x0a" + good[1:], "label 10, and valid labels are 0 to 9"),
        ("data_batch_1.bin", lambda good: bytes(len(good)), "every one of the 10 classes"),
        ("data_batch_1.bin", None, "cannot be read"),
    ],
)
def test_a_damaged_or_missing_cifar_file_is_named(
    cifar10: Path, name: str, damage: Callable[[bytes], bytes] | None, reason: str
) -> None:
    file = cifar10 / "cifar-10-batches-bin" / name
    content = file.read_bytes()
    file.unlink()
    if damage:
        file.write_bytes(damage(content))
    assert_refused("cifar10", cifar10, file, reason)


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder, marker = tmp_path / "cifar-10-batches-py", tmp_path / "code-ran"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Evil(marker)))
    # Never the whole of data_dir, with all other data sets.
    assert_refused("cifar10", tmp_path, folder, f"pickles are not read unchecked.*remove the folder {folder} to have")
    assert not marker.exists()
    pickle.loads((folder / "test_batch").read_bytes())
    assert marker.exists(), "the pickle would not have done anything"


def test_a_data_dir_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("went to the network"))
    (tmp_path / "data").write_text("not a folder")
    assert_refused("mnist", tmp_path / "data", tmp_path / "data")


@pytest.mark.parametrize(("dataset", "question"), [("mnist", "exists"), ("cifar10", "is_dir")])
def test_a_data_dir_that_cannot_be_looked_at_is_refused(
    dataset: str, question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    assert_refused(dataset, Path("x" * 300), "data_dir is 'xxx", "File name too long")
    assert_refused(dataset, Path("~nosuchuser/x"), "data_dir is '~nosuchuser/x'", "home directory")
    monkeypatch.setattr(Path, question, forbidden)
    assert_refused(dataset, tmp_path, "data_dir is", "Permission denied")


def test_a_complete_data_dir_is_read_without_being_written_to(mnist: Path) -> None:
    before = sorted(mnist.rglob("*"))
    load_raw("mnist", str(mnist))
    assert sorted(mnist.rglob("*")) == before


def test_the_digest_is_of_every_byte_and_shape_and_of_nothing_else() -> None:
    def digest() -> str:
        return RawImages(images[:6], labels[:6], images[6:], labels[6:], ("a", "b"), False, "here").digest()

    images, labels = np.arange(9 * 12, dtype=np.uint8).reshape(9, 2, 2, 3), cycling(9)
    digests = {digest()}
    for array in (images, labels):
        for position in range(array.size):
            array.flat[position] ^= 1
            digests.add(digest())
            array.flat[position] ^= 1
    assert len(digests) == 1 + images.size + labels.size
    first, images = digest(), np.asfortranarray(images)
    assert digest() == first
    images = images.reshape(9, 4, 1, 3)
    assert digest() != first


@pytest.mark.full
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "cifar10"])
def test_the_official_files_are_read_and_verified(dataset: str, real_data: str) -> None:
    raw = load_raw(dataset, real_data)
    assert raw.test_labels is not None
    assert raw.verified or (dataset == "cifar10" and raw.origin.endswith("-bin"))
    assert np.bincount(raw.test_labels).min() > 800 and len(raw.train_labels) + len(raw.test_labels) >= 60_000
