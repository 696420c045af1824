"""The image data sets as their authors publish them: find the files, download what is missing, check, read.

Every reader returns uint8 arrays and refuses files that cannot be right (truncated, other counts, labels outside the
classes) with a DataError that names the file. Whether the content is the official one is reported, not enforced: own
data in the same layout is welcome, and its runs carry `data_verified=false`.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data.downloads import DataError, downloading
from tasks.base import short

DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class RawImages(NamedTuple):
    """A data set as published.

    `train_images` and `test_images` are uint8 `(n, height, width, channels)`, labels uint8 `(n,)`. `test_images` is
    None where the authors publish no split. `verified` says whether the content is bit for bit the official one.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    classes: tuple[str, ...]
    verified: bool
    origin: str

    def digest(self) -> str:
        """SHA-256 over the whole content: every image and label, in order, with the shapes."""
        sha = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            if array is not None:
                sha.update(repr(array.shape).encode())
                sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def load_raw(name: str, data_dir: str) -> RawImages:
    """Read a data set by its contract name, downloading to `data_dir` what is not there.

    Raises DataError, naming the file and what to do, for missing, damaged or unreachable data.
    """
    try:
        return READERS[name](Path(data_dir).expanduser())
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that may not be read, an unknown ~user
        raise DataError(
            f"data_dir is {short(data_dir)}, which cannot be used ({getattr(error, 'strerror', None) or error}); "
            "valid: a folder that can be read; or use dataset=digits, which needs none"
        ) from error


def _digits(_: Path) -> RawImages:
    """Optical digits of the UCI repository, as scikit-learn ships them: 1,797 images of 8 x 8 pixels, 0 to 16."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(np.asarray(images).reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return RawImages(
        pixels, np.asarray(labels, np.uint8), None, None, DIGIT_NAMES, True, "sklearn.datasets.load_digits"
    )


# What RawImages.digest() gives for the files whose MD5 sums the authors publish.
IDX_DIGESTS = {
    "MNIST": "c1a44cd987adea06a723558e60762a763befa3cccc6bcbb05653f86cf68f5530",
    "FashionMNIST": "715868ef620cfff128d9e6ddab09b5058437961858c8b66b9c59a924180d6b61",
}


def _idx(folder_name: str, classes: tuple[str, ...]) -> Callable[[Path], RawImages]:
    """A reader for MNIST's layout: four IDX files under `<data_dir>/<folder_name>/raw`, gzipped or not."""

    def read(data_dir: Path) -> RawImages:
        raw = data_dir / folder_name / "raw"
        if missing := _missing_idx(raw):
            _download_idx(raw, folder_name, data_dir, missing[0])
        parts = []
        for part, count in (("train", 60_000), ("t10k", 10_000)):
            images = _read_idx(_idx_file(raw, f"{part}-images-idx3-ubyte"), (count, 28, 28))
            label_file = _idx_file(raw, f"{part}-labels-idx1-ubyte")
            labels = _read_idx(label_file, (count,))
            _check_labels(labels, len(classes), label_file)
            parts.append((images[..., None], labels))
        (train_images, train_labels), (test_images, test_labels) = parts
        images = RawImages(train_images, train_labels, test_images, test_labels, classes, False, str(raw))
        return images._replace(verified=images.digest() == IDX_DIGESTS[folder_name])

    return read


IDX_NAMES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def _idx_file(raw: Path, name: str) -> Path:
    plain = raw / name
    return plain if plain.exists() else raw / f"{name}.gz"


def _missing_idx(raw: Path) -> list[str]:
    return [name for name in IDX_NAMES if not _idx_file(raw, name).exists()]


def _download_idx(raw: Path, folder_name: str, data_dir: Path, wanted: str) -> None:
    with downloading(raw / wanted, data_dir) as aside:
        missing = _missing_idx(raw)
        if not missing:  # another process has downloaded them
            return
        import torchvision

        getattr(torchvision.datasets, folder_name)(str(aside), download=True)
        for name in missing:
            (aside / folder_name / "raw" / name).replace(raw / name)


def _read_idx(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read one IDX file of unsigned bytes (format: 0 0 8 ndim, big-endian sizes, data) of a known shape."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_damaged(file, f"it cannot be read ({error})")) from error
    header_size = 4 + 4 * len(shape)
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if content[:header_size] != header:
        raise DataError(_damaged(file, f"its header does not say {' x '.join(map(str, shape))} unsigned bytes"))
    expected = header_size + int(np.prod(shape))
    if len(content) != expected:
        raise DataError(_damaged(file, f"it has {len(content):,} bytes and should have {expected:,}"))
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _cifar10(data_dir: Path) -> RawImages:
    """CIFAR-10 from its binary layout, or from the Python one, which torchvision checks (MD5) before it unpickles."""
    binary = data_dir / "cifar-10-batches-bin"
    if binary.is_dir():
        train = [_read_cifar_batch(binary / f"data_batch_{number}.bin") for number in range(1, 6)]
        test_images, test_labels = _read_cifar_batch(binary / "test_batch.bin")
        train_images, train_labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
        # The authors publish no checksums of the unpacked binary files, so their content stays unverified.
        return RawImages(train_images, train_labels, test_images, test_labels, CIFAR10_NAMES, False, str(binary))

    folder = data_dir / "cifar-10-batches-py"
    if not folder.is_dir():
        _download_cifar10(data_dir, folder)
    try:
        train_set, test_set = _torchvision_cifar10(data_dir)
    except (RuntimeError, OSError) as error:
        what = "a file is missing or its MD5 is not the published one, and pickles are not read unchecked"
        raise DataError(_damaged(folder, what)) from error
    train_labels, test_labels = (np.array(part.targets, np.uint8) for part in (train_set, test_set))
    return RawImages(train_set.data, train_labels, test_set.data, test_labels, CIFAR10_NAMES, True, str(folder))


def _download_cifar10(data_dir: Path, folder: Path) -> None:
    with downloading(folder, data_dir) as aside:
        if folder.is_dir():  # another process has downloaded it
            return
        from torchvision.datasets import CIFAR10, utils

        # The archive stays in `data_dir`, or is there already; its MD5 is checked.
        utils.download_and_extract_archive(
            CIFAR10.url, str(data_dir), str(aside), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5
        )
        (aside / folder.name).rename(folder)


def _torchvision_cifar10(data_dir: Path) -> tuple[Any, Any]:
    from torchvision.datasets import CIFAR10

    return CIFAR10(str(data_dir), train=True), CIFAR10(str(data_dir), train=False)


def _read_cifar_batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """One file of 10,000 records: a label byte, then 3,072 bytes in the order channel, row, column."""
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DataError(_damaged(file, f"it cannot be read ({error.strerror})")) from error
    if content.size != 10_000 * 3073:
        raise DataError(_damaged(file, f"it has {content.size:,} bytes and should have {10_000 * 3073:,}"))
    records = content.reshape(10_000, 3073)
    labels = records[:, 0].copy()
    _check_labels(labels, 10, file)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _check_labels(labels: np.ndarray, num_classes: int, file: Path) -> None:
    if labels.max() >= num_classes:
        raise DataError(_damaged(file, f"it holds label {labels.max()}, and valid labels are 0 to {num_classes - 1}"))
    if np.bincount(labels, minlength=num_classes).min() < 2:
        raise DataError(_damaged(file, f"it does not hold every one of the {num_classes} classes"))


def _damaged(file: Path, what: str) -> str:
    folder = file if file.is_dir() else file.parent  # never more than this data set: others lie beside it
    return (
        f"{file}: {what}. Put the official file there, remove the folder {folder} to have it downloaded again, "
        "or use dataset=digits"
    )


READERS: dict[str, Callable[[Path], RawImages]] = {
    "digits": _digits,
    "mnist": _idx("MNIST", DIGIT_NAMES),
    "fashion_mnist": _idx("FashionMNIST", FASHION_NAMES),
    "cifar10": _cifar10,
}
