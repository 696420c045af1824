"""Image data sets as uint8 tensors on the training device: of one size, split once and for all, with digests.

Layout of every image tensor: `(n, channels, size, size)`, uint8, channels_last in memory, so that batches come out in
the format that the networks are fastest in. Published data sets are 32 x 32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from experiments.config import IMAGE_SIZE, is_own
from experiments.data.own_images import OwnImages, load_own
from experiments.data.report import DataReport, data_report
from experiments.data.sources import load_raw
from experiments.data.splits import Split, shortened, split_digest, split_own, split_published
from tasks.images import to_image_size

MAPPED_BYTES = 2**28  # own data above this stay in their file
STATISTICS_BYTES = 2**22  # that are looked at together
MOST_KEPT = 2
_keepers = 0
_kept: "dict[Any, ImageData]" = {}


@dataclass(frozen=True)
class Subset:
    """Images `(n, channels, size, size)` uint8 and labels `(n,)` int64, on one device.

    Of large data, `images` is all that the file holds, mapped on the CPU, and `rows` are the places of these in it.
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Height and width."""
        return self.images.shape[-1]

    def take(self, index: slice | torch.Tensor) -> torch.Tensor:
        """Some images, channels_last, on the device of the labels."""
        if self.rows is None:
            return self.images[index]
        chosen = self.rows[index if isinstance(index, slice) else index.cpu()]
        return self.images.permute(0, 2, 3, 1)[chosen].permute(0, 3, 1, 2).to(self.labels.device)

    def to(self, device: torch.device | str) -> "Subset":
        """On another device; mapped images stay in their file."""
        images = self.images.to(device) if self.rows is None else self.images
        return Subset(images, self.labels.to(device), self.rows)


@dataclass(frozen=True)
class ImageData:
    """A data set, split and on its device, and what identifies it.

    `mean` and `std` are those of the training images, per channel, for pixels scaled to 0..1. Own data have a `report`,
    and in `test_files` the file of every test image.
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
    report: DataReport | None = None
    test_files: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return self.train.size


def load_images(
    name: str,
    data_dir: str = "data",
    *,
    train_size: int = 0,
    val_size: int | None = None,
    split_seed: int = 0,
    image_size: int = IMAGE_SIZE,
    device: torch.device | str = "cpu",
) -> ImageData:
    """Read, check, split and upload a data set.

    The split is stratified by class and depends on `split_seed` only. Validation images come out of the published
    training images (10 %, at least 200, unless `val_size` says otherwise); the published test set is the test set.
    `digits` has none, and neither have own data that are not in parts: they are split 70/10/20. `train_size` then
    keeps a stratified part of the training images.

    Args: name: of the contract, or the path of own pictures, which are resized to `image_size`.

    Raises DataError for missing or damaged files, ConfigError for sizes that the data set does not have.
    """
    request = (name, data_dir, train_size, val_size, split_seed, image_size, str(device))
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
    name: str,
    data_dir: str,
    train_size: int,
    val_size: int | None,
    split_seed: int,
    image_size: int,
    device: torch.device | str,
) -> ImageData:
    if is_own(name):
        own = load_own(name, data_dir, image_size)
        train, val, test = split_own(own.parts, own.labels, own.classes, val_size, split_seed, own.origin)
        split = shortened(train, own.labels, train_size, len(own.classes), split_seed), val, test
        return _own_data(own, split, device)
    raw = load_raw(name, data_dir)
    images, labels = raw.train_images, raw.train_labels
    if raw.test_images is not None and raw.test_labels is not None:
        images = np.concatenate([images, raw.test_images])
        labels = np.concatenate([labels, raw.test_labels])
    train, val, test = split_published(labels, len(raw.train_labels), len(raw.classes), val_size, split_seed)
    train = shortened(train, labels, train_size, len(raw.classes), split_seed)
    mean, std = _channel_statistics(images, train)
    return ImageData(
        name=name,
        train=_upload(images[train], labels[train], device),
        val=_upload(images[val], labels[val], device),
        test=_upload(images[test], labels[test], device),
        classes=raw.classes,
        mean=mean,
        std=std,
        sha256=raw.digest(),
        split_sha256=split_digest(train, val, test),
        verified=raw.verified,
        origin=raw.origin,
    )


def _own_data(own: OwnImages, split: Split, device: torch.device | str) -> ImageData:
    """Own pictures on the device, or, of large data, in the file that they are mapped from."""
    mean, std = _channel_statistics(own.images, split[0])
    if own.images.nbytes > MAPPED_BYTES:
        everything = torch.from_numpy(own.images).permute(0, 3, 1, 2)
        labels = torch.from_numpy(own.labels)
        parts = [Subset(everything, labels[rows].to(device), rows) for rows in map(torch.from_numpy, split)]
    else:
        parts = [_upload(own.images[rows], own.labels[rows], device, own.images.shape[1]) for rows in split]
    return ImageData(
        name=own.name,
        train=parts[0],
        val=parts[1],
        test=parts[2],
        classes=own.classes,
        mean=mean,
        std=std,
        sha256=own.sha256,
        split_sha256=split_digest(*split),
        verified=False,
        origin=own.origin,
        report=data_report(own, split),
        test_files=tuple(own.rows[row].item.path for row in split[2]),
    )


def _channel_statistics(images: np.ndarray, chosen: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, from exact integer sums (no float copy of the whole data set)."""
    total = np.zeros(images.shape[-1], np.int64)
    squares = np.zeros_like(total)
    at_once = max(1, STATISTICS_BYTES // images[0].nbytes)
    for start in range(0, len(chosen), at_once):
        # Over images first, which is one long row added to another; over pixels it takes four times as long.
        rows = images[chosen[start : start + at_once]].reshape(-1, images[0].size).astype(np.uint16)
        total += rows.sum(axis=0, dtype=np.int64).reshape(-1, images.shape[-1]).sum(axis=0)
        squares += (rows * rows).sum(axis=0, dtype=np.int64).reshape(-1, images.shape[-1]).sum(axis=0)
    count = len(chosen) * images.shape[1] * images.shape[2]
    mean = total / count
    # A channel that is the same everywhere says nothing, whatever it is divided by.
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    std[std == 0] = 255.0
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _upload(images: np.ndarray, labels: np.ndarray, device: torch.device | str, size: int = IMAGE_SIZE) -> Subset:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    pixels = to_image_size(pixels, size).contiguous(memory_format=torch.channels_last)
    return Subset(pixels.to(device), torch.from_numpy(labels.astype(np.int64)).to(device))
