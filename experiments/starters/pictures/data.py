"""MNIST and Fashion-MNIST as one set of 20 classes, and pictures as the model draws them: 64 x 64, from -1 to 1."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from experiments.data.images import ImageData, Subset, load_images

# In the order of the classes.
SETS = ("mnist", "fashion_mnist")
SIDE = 64
CLASSES_A_SET = 10


@dataclass(frozen=True)
class PictureData:
    """Gray pictures `(n, 1, 32, 32)` uint8 with classes from 0 to 19, split once and for all; the training part is
    shuffled."""

    train: Subset
    val: Subset
    test: Subset
    sha256: str
    split_sha256: str
    verified: bool


def load_pictures(data_dir: str, train_size: int = 0, device: torch.device | str = "cpu") -> PictureData:
    """Read both data sets, with about `train_size` training pictures of both together (0: all).

    Raises DataError for missing or damaged files, ConfigError for sizes that the data sets do not have.
    """
    sets = [load_images(name, data_dir, train_size=train_size // len(SETS), device=device) for name in SETS]
    train = _joined(sets, "train")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).to(train.labels.device)
    return PictureData(
        train=Subset(train.images[order], train.labels[order]),
        val=_joined(sets, "val"),
        test=_joined(sets, "test"),
        sha256=_together(one.sha256 for one in sets),
        split_sha256=_together(one.split_sha256 for one in sets),
        verified=all(one.verified for one in sets),
    )


def _joined(sets: list[ImageData], part: str) -> Subset:
    subsets: list[Subset] = [getattr(one, part) for one in sets]
    labels = [subset.labels + CLASSES_A_SET * number for number, subset in enumerate(subsets)]
    return Subset(torch.cat([subset.images for subset in subsets]), torch.cat(labels))


def _together(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def first_of_each(data: Subset, count: int) -> Subset:
    """The first `count` pictures of each class, or as many as there are, class by class."""
    classes = [(data.labels == label).nonzero()[:count, 0] for label in data.labels.unique().tolist()]
    index = torch.cat(classes)
    return Subset(data.images[index], data.labels[index])


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """Pictures of a data set, uint8 `(n, 1, 32, 32)`, as the model draws them: float `(n, 1, 64, 64)`, -1 to 1."""
    large = F.interpolate(images.float() / 127.5 - 1, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return large.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def reduced(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as the model draws them, `(n, 1, 64, 64)`, as classifiers see them: float `(n, 1, 32, 32)`, -1 to 1."""
    return F.avg_pool2d(pictures, 2)


def seen(images: torch.Tensor) -> torch.Tensor:
    """Pictures of a data set as classifiers see them: enlarged and reduced, as drawn ones are."""
    return reduced(enlarged(images))
