"""Training batches of the picture model: latents of pictures and prompts for them, functions of (seed, epoch)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from transformers import CLIPTokenizer

from experiments.starters.pictures.network import read_prompts
from experiments.starters.pictures.vocabulary import training_prompt

# An epoch is this many pictures: a sixth of all, so that there is more than one epoch to choose from.
EPOCH_PICTURES = 18_000


class Batch(NamedTuple):
    """This process's part of a global batch of `total` pictures.

    latents float32 `(n, 4, 8, 8)`; tokens int64 `(m, WINDOW)` of its different prompts; prompts int64 `(n,)`, which row
    of `tokens` is a picture's.
    """

    latents: torch.Tensor
    tokens: torch.Tensor
    prompts: torch.Tensor
    total: int


class PictureBatches:
    """All training pictures as latents, in shuffled batches.

    Six epochs or so go once through all of them; where there are no more than EPOCH_PICTURES, each one does.
    """

    def __init__(
        self,
        latents: Callable[[int], torch.Tensor],
        labels: torch.Tensor,
        tokenizer: CLIPTokenizer,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args: latents: gives those of all pictures at the beginning of the epoch of a number."""
        self.latents = latents
        self.labels = labels
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.parts = max(1, round(len(labels) / EPOCH_PICTURES))
        self.pictures = len(labels) // self.parts

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.pictures // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of epoch `number`, counted from 1. Pictures left over by the division wait for another
        pass."""
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
            yield Batch(latents[order[mine].to(device)], tokens[different].to(device), places.to(device), total)
