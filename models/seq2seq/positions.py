"""How a Transformer knows where a token stands; attention alone does not see order.

    sinusoidal  added to the embedding: Vaswani et al. 2017, section 3.5
    learned     added to the embedding: one trained row a position (Gehring et al. 2017)
    rotary      queries and keys turn with their position, so that their product sees the difference of positions only:
                Su et al. 2021, "RoFormer", eq. 34
    relative    scores get a trained term for the distance of query and key: Shaw, Uszkoreit and Vaswani 2018, eq. 5
    none        a causal decoder still knows its place (Kazemnejad et al. 2023), an encoder does not

Shapes: b batch, h heads, T queries, S keys, d size of a head, H = h d.
"""

import torch
from torch import nn

BASE = 10_000.0
"""The longest wave of sinusoidal and rotary positions is 2 pi times this many tokens."""

CLIP = 16
"""Distances beyond this count as this, each way."""


def angles(positions: torch.Tensor, size: int) -> torch.Tensor:
    """(..., size / 2) from positions (...): pair i of a vector turns by position / BASE^(2 i / size)."""
    pairs = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32)
    return positions.float().unsqueeze(-1) * BASE ** (-pairs / size)


def sinusoidal(positions: torch.Tensor, size: int) -> torch.Tensor:
    """Rows (..., size) for positions (...): sine and cosine of each wave side by side."""
    waves = angles(positions, size)
    return torch.stack([waves.sin(), waves.cos()], dim=-1).flatten(-2)


def rotate(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Turn neighboring pairs of `x` (b, h, n, d) by the angles of their `positions` (n,); in float32."""
    turn = angles(positions, x.size(-1))
    sine, cosine = turn.sin(), turn.cos()
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2).to(x.dtype)


class AddedPositions(nn.Module):
    """What is added to the embeddings of positions (n,): (n, H), by `kind`; zeros where positions work elsewhere."""

    def __init__(self, kind: str, size: int, max_length: int) -> None:
        super().__init__()
        self.kind = kind
        self.size = size
        self.max_length = max_length
        if kind == "learned":
            self.table = nn.Embedding(max_length, size)
            nn.init.normal_(self.table.weight)  # as large as the scaled embeddings: learns faster than 1 / sqrt(H)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Learned positions past the table share its last row, so that a sequence of any length runs."""
        if self.kind == "sinusoidal":
            return sinusoidal(positions, self.size)
        if self.kind == "learned":
            return self.table(positions.clamp(max=self.max_length - 1))
        return torch.zeros(1, self.size, device=positions.device)


class RelativeScores(nn.Module):
    """Shaw's key embeddings: query . a(distance) with one row a head and distance, clipped to `CLIP` each way.

    The paper's value embeddings, which its table 3 finds to add nothing, are left out.
    """

    def __init__(self, heads: int, head_size: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(heads, 2 * CLIP + 1, head_size))
        nn.init.xavier_uniform_(self.keys)

    def forward(self, query: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Scores (b, h, T, S) from queries (b, h, T, d) and integer distances, broadcast to (b, h, T, S)."""
        by_distance = query @ self.keys.transpose(1, 2)  # (b, h, T, 2 CLIP + 1)
        index = distances.clamp(-CLIP, CLIP) + CLIP
        return by_distance.gather(-1, index.expand(*query.shape[:3], index.size(-1)))


def self_distances(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Key's position minus query's, (T, S) from positions (T,) and (S,)."""
    return keys - queries.unsqueeze(1)


def cross_distances(queries: torch.Tensor, lengths: torch.Tensor, size: int, heads: int) -> torch.Tensor:
    """Distances (b, h, T, S) from decoder steps (T,) to `size` source positions, in "mixed direction".

    The first half of the heads counts source positions from the beginning; the other half from the end, the last token
    of each row, at `lengths - 1`, being 0. A task that reads its source backwards then looks at one and the same
    distance in every step, however long the source. The idea is that of Ray Chowdhury and Caragea 2023, "Monotonic
    Location Attention for Length Generalization", arXiv 2305.20019, who mix the encoded source with its reverse under
    one relative attention; here the heads share the two directions out.
    """
    places = torch.arange(size, device=queries.device)
    forward = self_distances(queries, places).expand(len(lengths), -1, -1)
    from_end = lengths.unsqueeze(1) - 1 - places  # (b, S)
    backward = from_end.unsqueeze(1) - queries.unsqueeze(1)
    half = heads // 2
    return torch.stack([forward] * half + [backward] * (heads - half), dim=1)
