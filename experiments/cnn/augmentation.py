"""Batches for one epoch: order and augmentation, drawn for the whole epoch at once and applied to whole batches.

Everything random is a function of (seed, epoch), never of what ran before. A run that is resumed, or runs on
another number of processes, therefore sees the same batches: they are drawn for the global batch and then sliced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from experiments.config import IMAGE_SIZE
from experiments.data.images import Subset


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        crop: largest shift in pixels in each direction; pixels from outside are zero.
        flip: mirror every image left-right in every other epoch, which half of the images in which epoch being random
            (alternating flip, Jordan 2024, arXiv:2404.00498, section 3.6): every image is seen both ways equally often.
        cutout: side of a square at a random place that is set to the mean color (DeVries and Taylor 2017).
        small_size, small_epochs: side to which images are shrunk in the first epochs, which makes these faster
            (progressive resizing, Howard 2018, in fast.ai's entry to DAWNBench).
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    small_size: int = 0
    small_epochs: int = 0


class ImageBatch(NamedTuple):
    """This process's part of a global batch.

    images: float32 `(n, channels, size, size)`, normalized, channels_last; labels: int64 `(n,)`; total: items in the
    global batch, by which sums over all processes are divided.
    """

    images: torch.Tensor
    labels: torch.Tensor
    total: int


class Normalize:
    """uint8 images to float32 with zero mean and unit variance per channel, on the device of the images."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str) -> None:
        self.mean, self.std = mean, std
        self.scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(1, -1, 1, 1)
        self.offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(1, -1, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.offset, pixels, self.scale)


class TrainingBatches:
    """The training data, ready to be cut into shuffled, augmented batches, epoch after epoch.

    `batch_size` is that of the global batch; process `rank` of `world_size` gets its slice of each.
    """

    def __init__(
        self,
        data: Subset,
        normalize: Normalize,
        augmentation: Augmentation,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.labels = data.labels
        self.normalize = normalize
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._size = data.size
        windows = _Windows if data.rows is None else _MappedWindows
        self._windows = windows(data, augmentation.crop)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        count, rest = divmod(len(self.labels), self.batch_size)
        return count + (rest >= 2 * self.world_size or count == 0)

    def epoch(self, number: int) -> Iterator[ImageBatch]:
        """Yield the batches of epoch `number`, counted from 1.

        The last batch is smaller; it is left out when it has fewer than two items a process, because batch
        statistics of one item say nothing.
        """
        count = len(self.labels)
        plan = _draw(count, self.augmentation, self.seed, number, self._size).to(self.labels.device)
        for start in range(0, count, self.batch_size):
            total = min(self.batch_size, count - start)
            if start > 0 and total < min(self.batch_size, 2 * self.world_size):
                return
            mine = slice(*(start + total * part // self.world_size for part in (self.rank, self.rank + 1)))
            index = plan.order[mine]
            pixels = self._windows.cut(index, plan.shift[mine])
            if self.augmentation.flip:
                pixels = torch.where(plan.mirror[mine, None, None, None], pixels.flip(3), pixels)
            images = self.normalize(pixels)
            if self.augmentation.cutout:
                _cut_out(images, plan.hole[mine], self.augmentation.cutout)
            if number <= self.augmentation.small_epochs:
                images = _shrunk(images, self.augmentation.small_size)
            yield ImageBatch(images, self.labels[index], total)


def evaluation_batches(data: Subset, normalize: Normalize, batch_size: int = 1000) -> Iterator[ImageBatch]:
    """Yield all images in their order, unaugmented; `batch_size` counts 32 x 32 px, larger ones by their pixels."""
    batch_size = max(1, batch_size * IMAGE_SIZE**2 // data.size**2)
    for start in range(0, len(data), batch_size):
        part = slice(start, start + batch_size)
        labels = data.labels[part]
        yield ImageBatch(normalize(data.take(part)), labels, len(labels))


class _Plan(NamedTuple):
    """An epoch's draws, one row a position in the order; shift and hole are (row, column) pairs."""

    order: torch.Tensor
    shift: torch.Tensor
    mirror: torch.Tensor
    hole: torch.Tensor

    def to(self, device: torch.device) -> "_Plan":
        return _Plan(*(tensor.to(device) for tensor in self))


def _draw(count: int, augmentation: Augmentation, seed: int, epoch: int, size: int) -> _Plan:
    # Drawn on the CPU whatever the device, so that runs on different devices see the same data.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(count, generator=generator)
    crop = augmentation.crop
    shift = torch.randint(-crop, crop + 1, (count, 2), generator=generator)
    hole = torch.randint(0, size, (count, 2), generator=generator)
    mirror = torch.zeros(count, dtype=torch.bool)
    if augmentation.flip:
        first_mirrored = torch.randint(0, 2, (count,), generator=torch.Generator().manual_seed(seed))
        mirror = ((first_mirrored + epoch) % 2 == 0)[order]
    return _Plan(order, shift, mirror, hole)


class _Windows:
    """Cuts a shifted window out of each image, in one copy per row of pixels.

    The images lie zero-padded in one flat buffer, in the order (n, row, column, channel). Any row of any window is then
    a run of consecutive bytes, and a view of the buffer with overlapping rows lets `index_select` copy whole runs;
    indexing pixel by pixel takes 13 (gray) to 30 (color) times as long on a CPU.
    """

    def __init__(self, data: Subset, margin: int) -> None:
        images = data.images
        channels, self.height, self.width = images.shape[1:]
        pixels = F.pad(images.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin)).contiguous()
        self.margin, self.channels = margin, channels
        self.padded_height, self.padded_width = pixels.shape[1:3]
        run = self.width * channels
        self.runs = pixels.view(-1).as_strided((pixels.numel() - run + 1, run), (1, 1))

    def cut(self, index: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Images `index`, each moved by its (row, column) shift: uint8 `(n, channels, h, w)`, channels_last."""
        row = torch.arange(self.height, device=index.device) + shift[:, :1] + self.margin
        column = shift[:, 1:] + self.margin
        start = ((index[:, None] * self.padded_height + row) * self.padded_width + column) * self.channels
        pixels = self.runs.index_select(0, start.flatten())
        return pixels.view(len(index), self.height, self.width, self.channels).permute(0, 3, 1, 2)


class _MappedWindows:
    """The same of images that stay in their file: each batch is read and padded on its own."""

    def __init__(self, data: Subset, margin: int) -> None:
        self.data, self.margin = data, margin

    def cut(self, index: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """As `_Windows.cut`."""
        batch = Subset(self.data.take(index), self.data.labels[index])
        return _Windows(batch, self.margin).cut(torch.arange(len(index), device=index.device), shift)


def _shrunk(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images of another size, channels_last as before."""
    smaller = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    return smaller.contiguous(memory_format=torch.channels_last)


def _cut_out(images: torch.Tensor, hole: torch.Tensor, side: int) -> None:
    """Set a square around each center to zero, the mean color after normalizing, in place; it may cross the border."""
    pixel = torch.arange(images.shape[-1], device=images.device)
    near = pixel - hole[..., None] + side // 2  # (n, 2, size)
    inside = (near >= 0) & (near < side)
    images.masked_fill_((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0)
