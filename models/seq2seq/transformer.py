"""The encoder-decoder Transformer: Vaswani et al. 2017, "Attention Is All You Need".

Layer norm stands before each sub-layer and once more at the end of each stack ("pre-norm"), where the paper has it
behind each sum: then gradients are of one size in all layers at the start and training needs no warm-up (Xiong et al.
2020, "On Layer Normalization in the Transformer Architecture"). `norm_first=False` is the paper's order. Dropout is
where the paper has it: on the embeddings and on the output of each sub-layer.

Shapes: b batch, T target steps, S source positions, h heads, d size of a head, H = h d, V vocabulary.
"""

from typing import cast

import torch
from torch import nn

from models.seq2seq.base import Seq2Seq, State, padding_mask
from models.seq2seq.blocks import DecoderLayer, EncoderLayer, Geometry
from models.seq2seq.positions import AddedPositions, cross_distances, self_distances


class Transformer(Seq2Seq):
    """Encoder and decoder of `layers` layers each; `attention_layer` names the one whose weights are shown."""

    def __init__(
        self,
        positions: str,
        vocab_size: int,
        hidden_size: int,
        *,
        max_length: int,
        dropout: float,
        heads: int,
        layers: int,
        norm_first: bool = True,
        attention_layer: int = -1,
    ) -> None:
        super().__init__(vocab_size)
        self.heads = heads
        self.hidden_size = hidden_size
        self.relative = positions == "relative"
        self.attention_layer = range(layers)[attention_layer]
        options = (hidden_size, heads, positions, dropout, norm_first)
        self.source_embedding = nn.Embedding(vocab_size, hidden_size)
        self.target_embedding = nn.Embedding(vocab_size, hidden_size)
        self.source_positions = AddedPositions(positions, hidden_size, max_length)
        self.target_positions = AddedPositions(positions, hidden_size, max_length)
        self.encoder = nn.ModuleList(EncoderLayer(*options) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(*options) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(hidden_size) if norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(hidden_size) if norm_first else nn.Identity()
        self.output = nn.Linear(hidden_size, vocab_size)
        self.dropout = nn.Dropout(dropout)
        self.initialize()

    def initialize(self) -> None:
        """Xavier matrices and zero biases; embeddings from N(0, 1 / H), which `embed` scales to variance 1."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=self.hidden_size**-0.5)

    def embed(
        self, table: nn.Embedding, added: AddedPositions, tokens: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        """Tokens (b, n) at positions `places` (n,) to (b, n, H); scaled by sqrt(H), section 3.4."""
        return self.dropout(table(tokens) * self.hidden_size**0.5 + added(places))

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        """The memory: `lengths`, the padding, keys and values of each decoder layer. The carry: an empty past."""
        places = torch.arange(source.size(1), device=source.device)
        padding = padding_mask(lengths, source.size(1))
        distances = self_distances(places, places) if self.relative else None
        geometry = Geometry(places, places, padding[:, None, None], distances)
        x = self.embed(self.source_embedding, self.source_positions, source, places)
        for layer in self.encoder:
            x = layer(x, geometry)
        x = self.encoder_norm(x)
        memory = [tensor for layer in self.decoder for tensor in cast(DecoderLayer, layer).remember(x, places)]
        return State((lengths, padding, *memory), tuple(tensor[:, :, :0] for tensor in memory))

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        memory = list(zip(state.memory[2::2], state.memory[3::2], strict=True))
        past = list(zip(state.carry[::2], state.carry[1::2], strict=True))
        to_self, to_source = self.geometry(tokens.size(1), past[0][0].size(2), *state.memory[:2])
        x = self.embed(self.target_embedding, self.target_positions, tokens, to_self.queries)
        shown, carry = None, []
        for index, (layer, source, before) in enumerate(zip(self.decoder, memory, past, strict=True)):
            x, weights, after = layer(x, source, before, to_self, to_source, index == self.attention_layer)
            shown = weights if weights is not None else shown
            carry += after
        return self.output(self.decoder_norm(x)), shown, State(state.memory, tuple(carry))

    def geometry(
        self, steps: int, past: int, lengths: torch.Tensor, padding: torch.Tensor
    ) -> tuple[Geometry, Geometry]:
        """Of `steps` decoder steps after `past` ones: towards themselves and the past, and towards the source."""
        keys = torch.arange(past + steps, device=lengths.device)
        queries, places = keys[past:], torch.arange(padding.size(1), device=lengths.device)
        future = keys > queries.unsqueeze(1) if steps > 1 else None
        to_self = Geometry(queries, keys, future, self_distances(queries, keys) if self.relative else None)
        across = cross_distances(queries, lengths, len(places), self.heads) if self.relative else None
        return to_self, Geometry(queries, places, padding[:, None, None], across)
