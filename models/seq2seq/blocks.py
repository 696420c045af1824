"""The layers of the Transformer: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 to 3.3.

Shapes: b batch, T queries, S keys, h heads, d size of a head, H = h d.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from models.seq2seq.attention import masked_softmax, merge_heads, split_heads
from models.seq2seq.positions import RelativeScores, rotate

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one attention, each (b, h, S, d)."""


@dataclass(frozen=True)
class Geometry:
    """Where queries and keys of one attention stand: `queries` (T,), `keys` (S,), and what may be seen.

    `hidden` is bool, broadcast to (b, h, T, S), True where a query must not look, None where it may look everywhere.
    `distances` are integers broadcast to (b, h, T, S), None where positions are not relative.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    hidden: torch.Tensor | None
    distances: torch.Tensor | None = None


class MultiHead(nn.Module):
    """Multi-head attention (section 3.2.2) that takes keys and values ready made, so that a decoder can keep them."""

    def __init__(self, size: int, heads: int, positions: str = "none") -> None:
        super().__init__()
        self.heads = heads
        self.rotary = positions == "rotary"
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        self.relative = RelativeScores(heads, size // heads) if positions == "relative" else None

    def keys_values(self, memory: torch.Tensor, places: torch.Tensor) -> KeysValues:
        """Keys and values, each (b, h, S, d), of a memory (b, S, H) at positions `places` (S,)."""
        keys, values = split_heads(self.key(memory), self.heads), split_heads(self.value(memory), self.heads)
        return rotate(keys, places) if self.rotary else keys, values

    def forward(
        self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, geometry: Geometry, with_weights: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(b, T, H) to the same shape, and, `with_weights`, the mean of the weights over heads, float32 (b, T, S)."""
        query = split_heads(self.query(x), self.heads)
        if self.rotary:
            query = rotate(query, geometry.queries)
        query = query * query.size(-1) ** -0.5
        bias = None
        if self.relative is not None:
            assert geometry.distances is not None
            bias = self.relative(query, geometry.distances)
        if with_weights:
            context, weights = weighted(query, keys, values, bias, geometry.hidden)
        else:
            context, weights = fused(query, keys, values, bias, geometry.hidden), None
        return self.output(merge_heads(context)), weights


def fused(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor | None,
    hidden: torch.Tensor | None,
) -> torch.Tensor:
    """Context (b, h, T, d) of scaled queries (b, h, T, d) by torch's own kernel, which never shows its weights."""
    mask = bias
    if hidden is not None:
        mask = ~hidden if bias is None else bias.masked_fill(hidden, float("-inf"))
    return F.scaled_dot_product_attention(query, keys, values, mask, scale=1.0)


def weighted(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor | None,
    hidden: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `fused`, and the mean of the weights over heads, float32 (b, T, S)."""
    scores = query @ keys.transpose(2, 3)
    if bias is not None:
        scores = scores + bias
    weights = scores.float().softmax(-1) if hidden is None else masked_softmax(scores, hidden)
    return weights.to(values.dtype) @ values, weights.mean(dim=1)


class Sublayer(nn.Module):
    """Sum of input and sub-layer with layer norm before the sub-layer (`norm_first`) or behind the sum."""

    def __init__(self, size: int, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) if self.norm_first else x

    def after(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        total = x + self.dropout(change)
        return total if self.norm_first else self.norm(total)


def feed_forward(size: int) -> nn.Sequential:
    """Two linear layers with ReLU between, four times as wide inside (section 3.3)."""
    return nn.Sequential(nn.Linear(size, 4 * size), nn.ReLU(), nn.Linear(4 * size, size))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network; (b, S, H) to the same shape."""

    def __init__(self, size: int, heads: int, positions: str, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.attention = MultiHead(size, heads, positions)
        self.feed_forward = feed_forward(size)
        self.around_attention = Sublayer(size, dropout, norm_first)
        self.around_feed_forward = Sublayer(size, dropout, norm_first)

    def forward(self, x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        inner = self.around_attention.before(x)
        keys, values = self.attention.keys_values(inner, geometry.keys)
        x = self.around_attention.after(x, self.attention(inner, keys, values, geometry)[0])
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))


class DecoderLayer(nn.Module):
    """Self-attention over the past, attention over the source, feed-forward network; (b, T, H) to the same shape."""

    def __init__(self, size: int, heads: int, positions: str, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.self_attention = MultiHead(size, heads, positions)
        self.cross_attention = MultiHead(size, heads, positions)
        self.feed_forward = feed_forward(size)
        self.around_self = Sublayer(size, dropout, norm_first)
        self.around_cross = Sublayer(size, dropout, norm_first)
        self.around_feed_forward = Sublayer(size, dropout, norm_first)

    def remember(self, memory: torch.Tensor, places: torch.Tensor) -> KeysValues:
        """What this layer needs of the encoded source (b, S, H) at positions `places` (S,)."""
        return self.cross_attention.keys_values(memory, places)

    def forward(
        self,
        x: torch.Tensor,
        source: KeysValues,
        past: KeysValues,
        to_self: Geometry,
        to_source: Geometry,
        with_weights: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None, KeysValues]:
        """`source` and `past` (of the steps so far) are keys and values; returned are the sum, weights and new past."""
        inner = self.around_self.before(x)
        new_keys, new_values = self.self_attention.keys_values(inner, to_self.queries)
        keys, values = torch.cat([past[0], new_keys], dim=2), torch.cat([past[1], new_values], dim=2)
        x = self.around_self.after(x, self.self_attention(inner, keys, values, to_self)[0])
        inner = self.around_cross.before(x)
        change, weights = self.cross_attention(inner, *source, to_source, with_weights)
        x = self.around_cross.after(x, change)
        x = self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))
        return x, weights, (keys, values)
