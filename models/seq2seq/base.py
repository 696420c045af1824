"""What every sequence-to-sequence network is: the interface, its two records, and the tokens that are no symbols.

Letters in shapes: b batch, S source positions, T target steps, H `hidden_size`, V `vocab_size` with the special tokens.
A source is `BOS x1 .. xn EOS` and then PAD; the decoder reads `BOS y1 .. ym` and is to say `y1 .. ym EOS`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

PAD, BOS, EOS = 0, 1, 2
SPECIALS = 3
"""Number of special tokens: the symbols start here."""


class Output(NamedTuple):
    """`logits` (b, T, V); `attention` float32 (b, T, S), rows sum to 1 and are 0 on padding, None without attention."""

    logits: torch.Tensor
    attention: torch.Tensor | None


@dataclass(frozen=True)
class State:
    """Where a decoder stands in its sequences; every tensor has the batch first.

    `memory` comes from the source and stays as it is; `carry` is what changes from step to step.
    """

    memory: tuple[torch.Tensor, ...]
    carry: tuple[torch.Tensor, ...]

    def select(self, index: torch.Tensor) -> "State":
        """The rows of the batch that `index` (n,) names, in its order; rows may repeat."""
        memory = tuple(tensor.index_select(0, index) for tensor in self.memory)
        return State(memory, self.reorder(index).carry)

    def reorder(self, index: torch.Tensor) -> "State":
        """As `select` where `index` only swaps hypotheses of the same source, so that the memory can stay in place."""
        return State(self.memory, tuple(tensor.index_select(0, index) for tensor in self.carry))


class Seq2Seq(nn.Module, ABC):
    """An encoder and a decoder that reads its own past; a network defines `start` and `decode`, the rest follows."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    @abstractmethod
    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        """Encode.

        Args:
            source: int64 (b, S).
            lengths: int64 (b,), each row's number of tokens that are not padding, BOS and EOS included, at least 1.

        Returns the state before the first step.
        """

    @abstractmethod
    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        """Read `tokens` int64 (b, T) from `state` on: logits (b, T, V), attention (b, T, S) or None, the state after.

        One call for many tokens and many calls for one each give the same.
        """

    def forward(self, source: torch.Tensor, lengths: torch.Tensor, target: torch.Tensor) -> Output:
        """Teacher forcing: what the decoder says after each token of `target`, int64 (b, T), which starts with BOS."""
        logits, attention, _ = self.decode(target, self.start(source, lengths))
        return Output(logits, attention)

    def step(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        """One step: `tokens` int64 (b,) to logits (b, V), attention (b, S) or None, and the state after."""
        logits, attention, state = self.decode(tokens.unsqueeze(1), state)
        return logits.squeeze(1), None if attention is None else attention.squeeze(1), state


def padding_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Bool (b, size), True on padding, from `lengths` (b,)."""
    return torch.arange(size, device=lengths.device) >= lengths.unsqueeze(1)
