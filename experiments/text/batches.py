"""Texts of different lengths in batches with little padding; the order is a function of (seed, epoch)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.nn.utils.rnn import pad_sequence

# Lengths are rounded up to a multiple of this, as all windows here are: kernels on a CPU keep memory for
# every shape that they have seen, which for each length of its own came to gigabytes.
STEP = 8
POOL = 20  # batches whose texts are sorted by length together
MEASURED_AT_ONCE = 64


class EncodedText(NamedTuple):
    """One text as a network reads it.

    Attributes:
        tokens: of the text, with the special ones.
        kinds: for each token 0, or 1 in the second of two texts; empty for networks that are not told.
        target: what is to be learned, float32 `(rows, length)` with a column for each token, or `(values,)`.
    """

    tokens: Sequence[int]
    kinds: Sequence[int]
    target: torch.Tensor


class TextBatch(NamedTuple):
    """This process's part of a global batch.

    Attributes:
        inputs: `input_ids`, `attention_mask` and, for items with kinds, `token_type_ids`: int64 `(batch, length)`.
        target: `(batch, values)`, or `(batch, rows, length)` padded with zeros.
        total: texts in the global batch.
    """

    inputs: dict[str, torch.Tensor]
    target: torch.Tensor
    total: int


def collate(
    items: Sequence[EncodedText], device: torch.device | str = "cpu", total: int | None = None, padding: int = 0
) -> TextBatch:
    """Pad texts to the longest, or a little further, with the token `padding`."""
    lengths = torch.tensor([len(item.tokens) for item in items])
    longest = -(-int(lengths.max()) // STEP) * STEP

    def table(rows: list[Sequence[int]], padding: int = 0) -> torch.Tensor:
        padded = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=padding)
        return F.pad(padded, (0, longest - padded.shape[1]), value=padding).to(device)

    inputs = {
        "input_ids": table([item.tokens for item in items], padding),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long().to(device),
    }
    if items[0].kinds:
        inputs["token_type_ids"] = table([item.kinds for item in items])
    targets = [item.target for item in items]
    if targets[0].ndim > 1:
        targets = [F.pad(target, (0, longest - target.shape[-1])) for target in targets]
    return TextBatch(inputs, torch.stack(targets).to(device), len(items) if total is None else total)


def by_length(items: Sequence[EncodedText], size: int) -> Iterator[list[int]]:
    """The places of texts in batches of like length, for measuring."""
    order = sorted(range(len(items)), key=lambda place: len(items[place].tokens))
    for first in range(0, len(order), size):
        yield order[first : first + size]


@torch.inference_mode()
def outputs(
    network: nn.Module, items: Sequence[EncodedText], accelerator: Accelerator, padding: int = 0
) -> Iterator[tuple[list[int], TextBatch, Any]]:
    """A network's outputs in eval mode: places of the items in a batch, the batch, and what the network says."""
    network.eval()
    for places in by_length(items, MEASURED_AT_ONCE):
        batch = collate([items[place] for place in places], accelerator.device, padding=padding)
        with accelerator.autocast():
            said = network(**batch.inputs)
        yield places, batch, said


@dataclass
class TextBatches:
    """The training texts in batches, epoch after epoch.

    Within every `POOL` batches' worth of shuffled texts they are sorted by length; the batches are then shuffled.

    Attributes:
        items: the texts of an epoch, always `count` of them, and a function of the epoch's number alone.
        padding: the token that fills up short texts.
    """

    items: Callable[[int], Sequence[EncodedText]]
    count: int
    batch_size: int
    seed: int
    device: torch.device | str = "cpu"
    rank: int = 0
    world_size: int = 1
    padding: int = 0

    def __len__(self) -> int:
        """Number of batches in an epoch; the last may be smaller, but not smaller than the number of processes."""
        full, rest = divmod(self.count, self.batch_size)
        return full + (rest >= self.world_size)

    def epoch(self, number: int) -> Iterator[TextBatch]:
        """Yield the batches of epoch `number`, counted from 1."""
        items = self.items(number)
        lengths = torch.tensor([len(item.tokens) for item in items])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        pools = torch.randperm(self.count, generator=generator).split(POOL * self.batch_size)
        batches = [chunk for pool in pools for chunk in pool[lengths[pool].argsort(stable=True)].split(self.batch_size)]
        if len(batches) > len(self):  # too few texts are left for all processes
            batches = [batch for batch in batches if len(batch) >= self.world_size]
        for which in torch.randperm(len(batches), generator=generator).tolist():
            places = batches[which].tolist()
            total = len(places)
            mine = places[total * self.rank // self.world_size : total * (self.rank + 1) // self.world_size]
            yield collate([items[place] for place in mine], self.device, total, self.padding)
