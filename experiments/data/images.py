"""Image data sets as uint8 tensors on the training device: 32 x 32, split once and for all, with digests.

Layout of every image tensor: `(n, channels, 32, 32)`, uint8, channels_last in memory, so that batches come out in the
format that the networks are fastest in.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from experiments.config import ConfigError
from experiments.data.sources import RawImages, load_raw
from tasks.images import to_image_size

MIN_VALIDATION = 200
DIGITS_TEST_SHARE, DIGITS_VALIDATION_SHARE = 0.2, 0.1
MOST_KEPT = 2
_keepers = 0
_kept: "dict[Any, ImageData]" = {}


@dataclass(frozen=True)
class Subset:
    """Images `(n, channels, 32, 32)` uint8 and labels `(n,)` int64, on one device."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageData:
    """A data set, split and on its device, and what identifies it.

    `mean` and `std` are those of the training images, per channel, for pixels scaled to 0..1.
    """

    name: str
    train: Subset
    val: Subset
    test: Subset
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    split_sha256: str
    verified: bool
    origin: str

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]


def load_images(
    name: str,
    data_dir: str = "data",
    *,
    train_size: int = 0,
    val_size: int | None = None,
    split_seed: int = 0,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Read, check, split and upload a data set.

    The split is stratified by class and depends on `split_seed` only. Validation images come out of the published
    training images (10 %, at least 200, unless `val_size` says otherwise); the published test set is the test set.
    `digits` has none: it is split 70/10/20. `train_size` then keeps a stratified part of the training images.

    Raises DataError for missing or damaged files, ConfigError for sizes that the data set does not have.
    """
    request = (name, data_dir, train_size, val_size, split_seed, str(device))
    data = _kept.get(request) or _load(*request)
    if _keepers:
        _kept.pop(request, None)
        _kept[request] = data
        for oldest in list(_kept)[:-MOST_KEPT]:
            del _kept[oldest]
    return data


@contextmanager
def kept_in_memory() -> Iterator[None]:
    """Within, data sets stay in memory, the latest MOST_KEPT of them: many trainings read the files once.

    Not always on, as files may change between the trainings of a process that lives long.
    """
    global _keepers
    _keepers += 1
    try:
        yield
    finally:
        _keepers -= 1
        if not _keepers:
            _kept.clear()


def _load(
    name: str, data_dir: str, train_size: int, val_size: int | None, split_seed: int, device: torch.device | str
) -> ImageData:
    raw = load_raw(name, data_dir)
    images, labels = _together(raw)
    train, val, test = _split(raw, labels, train_size, val_size, split_seed)
    mean, std = _channel_statistics(images[train])
    subsets = {
        part: _upload(images[index], labels[index], device)
        for part, index in (("train", train), ("val", val), ("test", test))
    }
    return ImageData(
        name=name,
        **subsets,
        classes=raw.classes,
        mean=mean,
        std=std,
        sha256=raw.digest(),
        split_sha256=_split_digest(train, val, test),
        verified=raw.verified,
        origin=raw.origin,
    )


def _together(raw: RawImages) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels in one array each, training part first."""
    if raw.test_images is None or raw.test_labels is None:
        return raw.train_images, raw.train_labels
    return (
        np.concatenate([raw.train_images, raw.test_images]),
        np.concatenate([raw.train_labels, raw.test_labels]),
    )


def _split(
    raw: RawImages, labels: np.ndarray, train_size: int, val_size: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted indices of the training, validation and test images within `labels`."""
    everything = np.arange(len(labels))
    if raw.test_images is None:
        pool, test = _take(everything, labels, round(DIGITS_TEST_SHARE * len(labels)), seed)
        default_val = round(DIGITS_VALIDATION_SHARE * len(labels))
    else:
        pool, test = everything[: len(raw.train_images)], everything[len(raw.train_images) :]
        default_val = max(MIN_VALIDATION, round(0.1 * len(pool)))
    num_classes = len(raw.classes)
    val_count = default_val if val_size is None else val_size
    _check_size("val_size", val_count, num_classes, len(pool) - num_classes)
    train, val = _take(pool, labels, val_count, seed)
    if train_size and train_size != len(train):
        _check_size("train_size", train_size, num_classes, len(train))
        if len(train) - train_size < num_classes:  # too few left over for one of each class: any will do
            train = train[:train_size]
        else:
            _, train = _take(train, labels, train_size, seed)
    return train, val, test


def _check_size(name: str, value: int, at_least: int, at_most: int) -> None:
    if not at_least <= value <= at_most:
        raise ConfigError(f"{name} is {value}; valid for this data set: {at_least} to {at_most}")


def _take(pool: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split `pool` into the rest and a stratified sample of `count`, both sorted."""
    from sklearn.model_selection import train_test_split

    try:
        rest, taken = train_test_split(pool, test_size=count, random_state=seed, stratify=labels[pool])
    except ValueError as error:
        raise ConfigError(f"the data cannot be split so that every class is in every part ({error})") from error
    return np.sort(rest), np.sort(taken)


def _split_digest(*parts: np.ndarray) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, from exact integer sums (no float copy of the whole data set)."""
    total = np.zeros(images.shape[-1], np.int64)
    squares = np.zeros_like(total)
    for part in np.array_split(images, max(1, len(images) // 1000)):
        pixels = part.reshape(-1, images.shape[-1]).astype(np.int32)
        total += pixels.sum(axis=0)
        squares += np.einsum("nc,nc->c", pixels, pixels, dtype=np.int64)
    count = images[..., 0].size
    mean = total / count
    # A channel that is the same everywhere says nothing, whatever it is divided by.
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std == 0] = 255.0
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _upload(images: np.ndarray, labels: np.ndarray, device: torch.device | str) -> Subset:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    pixels = to_image_size(pixels).contiguous(memory_format=torch.channels_last)
    return Subset(pixels.to(device), torch.from_numpy(labels.astype(np.int64)).to(device))
