"""The reversal data set: random integer sequences whose target is the reverse of the source.

A source is `BOS x1 .. xn EOS`, its target `xn .. x1 EOS`; symbols are numbered from `models.seq2seq.SPECIALS`.
Training, validation and test sequences are drawn together without repetition and then cut apart: they are disjoint.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from experiments.config import ConfigError
from models.seq2seq import BOS, EOS, PAD, SPECIALS

NAME = "reversal"
# Multiples of the longest trained length at which accuracy is measured apart.
PROBES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
DRAWS = 20


@dataclass(frozen=True)
class Sequences:
    """Pairs ready for a network, padded with PAD.

    Attributes:
        source: int64 `(n, longest + 2)`, with BOS and EOS.
        lengths: int64 `(n,)`, of the sources with BOS and EOS.
        target: int64 `(n, longest + 1)`, reversed symbols and EOS.
    """

    source: torch.Tensor
    lengths: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def inputs(self) -> torch.Tensor:
        """What a decoder is given under teacher forcing, `(n, longest + 1)`: the target moved on by one, after BOS."""
        return torch.cat([torch.full_like(self.target[:, :1], BOS), self.target[:, :-1]], dim=1)

    def part(self, index: torch.Tensor | slice) -> "Sequences":
        """Some of the pairs, with padding cut to the longest of them."""
        lengths = self.lengths[index]
        longest = int(lengths.max()) if len(lengths) else 2
        return Sequences(self.source[index, :longest], lengths, self.target[index, : longest - 1])


@dataclass(frozen=True)
class ReversalData:
    """All sequences of a training; `probes` holds sequences of one length each, none of which was trained on."""

    vocab_size: int
    train: Sequences
    val: Sequences
    test: Sequences
    probes: dict[int, Sequences]
    sha256: str
    split_sha256: str


def probe_lengths(max_length: int) -> list[int]:
    """The lengths of the probes, from a quarter of the longest trained length to five times it."""
    return sorted({max(1, round(share * max_length)) for share in PROBES})


def make_sequences(
    vocab_size: int,
    min_length: int,
    max_length: int,
    *,
    sizes: tuple[int, int, int],
    probe_size: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> ReversalData:
    """Draw all sequences, the same ones for the same arguments on any machine.

    Lengths are uniform between `min_length` and `max_length`, except that of the shortest there are no more than exist.

    Args:
        sizes: numbers of training, validation and test sequences.
        probe_size: sequences of each probe; a length of which fewer are left has fewer.

    Raises ConfigError where there are not that many different sequences.
    """
    if min_length > max_length:
        raise ConfigError(f"min_length is {min_length}; valid: at most {max_length}, which is max_length")
    rng = np.random.default_rng([seed, vocab_size, min_length, max_length])
    wanted = sum(sizes)
    drawn = _distinct(rng, vocab_size, min_length, max_length, wanted)
    if len(drawn) < wanted:
        raise ConfigError(
            f"train_size, val_size and test_size ask for {wanted:,} different sequences, and only {len(drawn):,} were "
            f"found with {vocab_size} symbols and lengths {min_length} to {max_length}; valid: fewer, or a larger "
            "vocab_size or max_length"
        )
    used = {row.tobytes() for row in drawn}
    probes = {}
    for length in probe_lengths(max_length):
        rows = _distinct(rng, vocab_size, length, length, probe_size * (2 if length <= max_length else 1))
        if length <= max_length:
            padded = np.pad(rows, ((0, 0), (0, max_length - length)))
            rows = rows[[row.tobytes() not in used for row in padded]]
        if len(rows):
            probes[length] = _pairs(rows[:probe_size], device)
    parts = np.split(drawn, np.cumsum(sizes)[:-1])
    content = hashlib.sha256(drawn.tobytes())
    split = hashlib.sha256(repr(sizes).encode() + b"".join(part.tobytes() for part in parts[1:]))
    train, val, test = (_pairs(part, device) for part in parts)
    return ReversalData(vocab_size, train, val, test, probes, content.hexdigest(), split.hexdigest())


def _distinct(rng: np.random.Generator, vocab_size: int, shortest: int, longest: int, wanted: int) -> np.ndarray:
    """Up to `wanted` different sequences in the order of drawing: int64 `(n, longest)` of symbols from 1, 0 after the
    end; fewer where that many do not come up."""
    found = np.zeros((0, longest), dtype=np.int64)
    for _ in range(DRAWS):
        lengths = rng.integers(shortest, longest + 1, size=wanted)
        rows = rng.integers(1, vocab_size + 1, size=(wanted, longest))
        rows[np.arange(longest) >= lengths[:, None]] = 0
        both = np.concatenate([found, rows])
        _, first = np.unique(both, axis=0, return_index=True)
        found = both[np.sort(first)][:wanted]
        if len(found) == wanted:
            break
    return found


def _pairs(rows: np.ndarray, device: torch.device | str) -> Sequences:
    """Symbols `(n, longest)` as `_distinct` gives them, as sources and targets."""
    count, longest = rows.shape
    symbols = (rows > 0).sum(axis=1)
    place = np.arange(longest + 2)
    source = np.full((count, longest + 2), PAD, dtype=np.int64)
    source[:, 0] = BOS
    source[:, 1:-1] = np.where(rows > 0, rows + SPECIALS - 1, PAD)
    source[place == symbols[:, None] + 1] = EOS
    # Position t of the target holds position n - t of the source, and EOS after the first symbol.
    origin = symbols[:, None] - place[:-1]
    target = np.where(origin > 0, np.take_along_axis(source, np.maximum(origin, 0), axis=1), PAD)
    target[origin == 0] = EOS
    tensors = (torch.from_numpy(values).to(device) for values in (source, symbols + 2, target))
    return Sequences(*tensors)


class SequenceBatch(NamedTuple):
    """This process's part of a global batch of pairs.

    tokens: target tokens, EOS among them, in the global batch; examples: pairs in it; teacher_forcing: fraction of
    decoder inputs that are true tokens, the rest being the network's own.
    """

    pairs: Sequences
    tokens: int
    examples: int
    teacher_forcing: float


class SequenceBatches:
    """The training pairs in batches, epoch after epoch; the order is a function of (seed, epoch).

    Pairs of similar length share a batch: within every `POOL` batches' worth of shuffled pairs they are sorted by
    length, which spares most of the padding; the batches are then shuffled.
    """

    POOL = 20

    def __init__(
        self,
        data: Sequences,
        batch_size: int,
        *,
        seed: int,
        epochs: int,
        teacher_forcing: float = 1.0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args: teacher_forcing: the fraction in the last epoch; it falls linearly from 1."""
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.epochs = epochs
        self.teacher_forcing = teacher_forcing
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        """Number of batches in an epoch; the last may be smaller, but not smaller than the number of processes."""
        count, rest = divmod(len(self.data), self.batch_size)
        return count + (rest >= self.world_size)

    def epoch(self, number: int) -> Iterator[SequenceBatch]:
        """Yield the batches of epoch `number`, counted from 1."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        lengths = self.data.lengths.cpu()
        order = torch.randperm(len(self.data), generator=generator)
        pools = order.split(self.POOL * self.batch_size)
        batches = [chunk for pool in pools for chunk in pool[lengths[pool].argsort(stable=True)].split(self.batch_size)]
        batches = batches[: len(self)]
        fraction = 1 - (1 - self.teacher_forcing) * (number - 1) / max(1, self.epochs - 1)
        for which in torch.randperm(len(batches), generator=generator).tolist():
            index = batches[which]
            total = len(index)
            mine = index[total * self.rank // self.world_size : total * (self.rank + 1) // self.world_size]
            tokens = int(lengths[index].sum()) - total
            yield SequenceBatch(self.data.part(mine.to(self.data.source.device)), tokens, total, fraction)
