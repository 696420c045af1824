"""How a recurrent decoder looks at the source: score functions with one interface.

A score s(t, j) says how well the decoder's state at step t, the query, fits source position j. The softmax over the
positions that are not padding turns scores into weights, and the context is the mean of the values under them:

    a(t, .) = softmax(s(t, .)),   c(t) = sum over j of a(t, j) v(j)

    dot          q . k            Luong, Pham and Manning 2015, "Effective Approaches to Attention-based NMT", eq. 8
    general      q . W k          the same
    concat       v . tanh(W [q; k])   the same, from the current state
    additive     v . tanh(W q + U k)  Bahdanau, Cho and Bengio 2015, appendix A.1.2, from the state before
    scaled dot   q . k / sqrt(H)  Vaswani et al. 2017, "Attention Is All You Need", section 3.2.1
    multi-head   scaled dot in each of h parts of the vectors, each with projections of its own; section 3.2.2

Shapes: b batch, T target steps, S source positions, m size of the memory, q of the query.
"""

from abc import ABC, abstractmethod

import torch
from torch import nn


def masked_softmax(scores: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Weights in float32 over the last axis of `scores` (..., S), exactly 0 where `padding` (broadcast to it) is True.

    A source has at least one token, so no row is all padding.
    """
    return scores.float().masked_fill(padding, float("-inf")).softmax(dim=-1)


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(b, n, size) to (b, heads, n, size / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(b, heads, n, size / heads) to (b, n, size)."""
    return x.transpose(1, 2).flatten(2)


class Attention(nn.Module, ABC):
    """Query, memory and padding to context and weights; `context_size` is the size of the context."""

    def __init__(self, context_size: int) -> None:
        super().__init__()
        self.context_size = context_size

    def prepare(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a memory (b, S, m), computed once a source and not once a step; here the memory itself."""
        return memory, memory

    @abstractmethod
    def scores(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(b, T, S) from queries (b, T, q) and keys (b, S, k)."""

    def forward(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, padding: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Contexts (b, T, context) and float32 weights (b, T, S).

        Args: query (b, T, q), keys and values (b, S, .) from `prepare`, padding bool (b, S), True on padding.
        """
        weights = masked_softmax(self.scores(query, keys), padding.unsqueeze(1))
        return weights.to(values.dtype) @ values, weights


class DotAttention(Attention):
    """`scale` times q . k: queries and memory have the same size. Luong's dot has scale 1, Vaswani's 1 / sqrt(size)."""

    def __init__(self, size: int, scale: float = 1.0) -> None:
        super().__init__(size)
        self.scale = scale

    def scores(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return query * self.scale @ keys.transpose(1, 2)


class GeneralAttention(DotAttention):
    """q . W k. W belongs to the keys alone: the values stay the memory, or this would be dot over another memory."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.key = nn.Linear(size, size, bias=False)

    def prepare(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key(memory), memory


class AdditiveAttention(Attention):
    """v . tanh(W q + U k), a network with one hidden layer: queries and memory may differ in size.

    Luong's concat is the same formula with W and U side by side; what differs is which state asks.
    """

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__(memory_size)
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(memory_size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def prepare(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key(memory), memory

    def scores(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        # (b, T, S, size), the largest tensor of all: tanh in place keeps it one.
        hidden = (self.query(query).unsqueeze(2) + keys.unsqueeze(1)).tanh_()
        return self.score(hidden).squeeze(-1)


class MultiHeadAttention(Attention):
    """Scaled dot in `heads` parts of size `size / heads`; the weights returned are the mean over heads."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__(size)
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)

    def prepare(self, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key(memory), self.value(memory)

    def scores(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """As the others' but (b, heads, T, S)."""
        query, keys = split_heads(self.query(query), self.heads), split_heads(keys, self.heads)
        return query * query.size(-1) ** -0.5 @ keys.transpose(2, 3)

    def forward(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, padding: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weights = masked_softmax(self.scores(query, keys), padding[:, None, None])
        context = weights.to(values.dtype) @ split_heads(values, self.heads)
        return self.output(merge_heads(context)), weights.mean(dim=1)
