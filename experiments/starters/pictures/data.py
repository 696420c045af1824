"""MNIST and Fashion-MNIST as one set of 20 classes, pictures as the model draws them, and batches of both."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from experiments.data.images import ImageData, Subset, load_images
from experiments.starters.pictures.words import CLASSES, read_prompts, training_prompt

SETS = ("mnist", "fashion_mnist")  # in the order of the classes
SIDE = 64
# An epoch is this many pictures: a sixth of all, so that there is more than one epoch to choose from.
EPOCH_PICTURES = 18_000


def load_pictures(data_dir: str, train_size: int = 0, device: torch.device | str = "cpu") -> ImageData:
    """Both data sets, gray pictures `(n, 1, 32, 32)` with classes from 0 to 19; the training part is shuffled.

    Args: train_size: about this number of training pictures of both together; 0 = all.

    Raises DataError for missing or damaged files, ConfigError for sizes that the data sets do not have.
    """
    sets = [load_images(name, data_dir, train_size=train_size // len(SETS), device=device) for name in SETS]
    train, val, test = (_joined([getattr(one, part) for one in sets]) for part in ("train", "val", "test"))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).to(train.labels.device)
    return replace(  # mean and std, which nothing here uses, stay those of the first
        sets[0],
        name="mnist-and-fashion-mnist",
        train=Subset(train.images[order], train.labels[order]),
        val=val,
        test=test,
        classes=CLASSES,
        sha256=hashlib.sha256("".join(one.sha256 for one in sets).encode()).hexdigest(),
        split_sha256=hashlib.sha256("".join(one.split_sha256 for one in sets).encode()).hexdigest(),
        verified=all(one.verified for one in sets),
        origin=data_dir,
    )


def _joined(subsets: list[Subset]) -> Subset:
    labels = [subset.labels + 10 * number for number, subset in enumerate(subsets)]
    return Subset(torch.cat([subset.images for subset in subsets]), torch.cat(labels))


def first_of_each(data: Subset, count: int) -> Subset:
    """The first `count` pictures of each class, or all if there are fewer, class by class."""
    index = torch.cat([(data.labels == label).nonzero()[:count, 0] for label in data.labels.unique().tolist()])
    return Subset(data.images[index], data.labels[index])


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """Pictures of a data set, uint8 `(n, 1, 32, 32)`, as the model draws them: float `(n, 1, 64, 64)`, -1 to 1."""
    large = F.interpolate(images.float() / 127.5 - 1, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    return large.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def reduced(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as the model draws them, `(n, 1, 64, 64)`, as classifiers see them: float `(n, 1, 32, 32)`, -1 to 1."""
    return F.avg_pool2d(pictures, 2)


def seen(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Pictures of a data set as classifiers see them: enlarged and reduced, as drawn ones are."""
    return torch.cat([reduced(enlarged(part)).to(dtype) for part in images.split(2000)])


class PictureBatch(NamedTuple):
    """This process's part of a global batch of `total` pictures.

    latents float32 `(n, 4, 8, 8)`; tokens int64 `(m, WINDOW)` of its different prompts; prompts int64 `(n,)`, which row
    of `tokens` is a picture's.
    """

    latents: torch.Tensor
    tokens: torch.Tensor
    prompts: torch.Tensor
    total: int


@dataclass
class PictureBatches:
    """All training pictures as latents with made-up prompts, in shuffled batches: functions of (seed, epoch).

    Six epochs or so go once through all of them; where there are no more than EPOCH_PICTURES, each one does.

    Attributes:
        latents: gives those of all pictures at the beginning of the epoch of a number.
        labels: of all pictures, on the CPU.
    """

    latents: Callable[[int], torch.Tensor]
    labels: torch.Tensor
    tokenizer: CLIPTokenizer
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1

    @property
    def parts(self) -> int:
        """Epochs that go once through all pictures."""
        return max(1, round(len(self.labels) / EPOCH_PICTURES))

    @property
    def pictures(self) -> int:
        """Number of pictures in an epoch. Those left over by the division wait for another pass."""
        return len(self.labels) // self.parts

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.pictures // self.batch_size)

    def epoch(self, number: int) -> Iterator[PictureBatch]:
        """Yield the batches of epoch `number`, counted from 1."""
        latents = self.latents(number)
        turn, part = divmod(number - 1, self.parts)
        shuffled = np.random.default_rng((self.seed, turn)).permutation(len(self.labels))
        order = torch.from_numpy(shuffled[part * self.pictures : (part + 1) * self.pictures])
        generator = np.random.default_rng((self.seed, turn, part))
        prompts = [training_prompt(label, generator) for label in self.labels[order].tolist()]
        tokens, rows = read_prompts(self.tokenizer, prompts)
        for start in range(0, self.pictures, self.batch_size):
            total = min(self.batch_size, self.pictures - start)
            mine = slice(*(start + total * place // self.world_size for place in (self.rank, self.rank + 1)))
            different, places = rows[mine].unique(return_inverse=True)
            device = latents.device
            yield PictureBatch(latents[order[mine].to(device)], tokens[different].to(device), places.to(device), total)
