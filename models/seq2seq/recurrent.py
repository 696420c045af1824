"""Recurrent encoder-decoders, with and without attention.

All share the encoder, its bridge and the readout `tanh(W [context; state])` with a linear layer to the vocabulary
(Luong et al. 2015, eq. 5), so that variants differ in how the context comes about:

    none        the context is the encoder's summary at every step (Cho et al. 2014, section 2.2), which feeds the
                decoder as well: all that is known of the source must fit in one vector.
    additive    Bahdanau, Cho and Bengio 2015, section 3.1: the state *before* the step asks, and the context is an
                input of the step. So one step after another.
    the others  Luong, Pham and Manning 2015, section 3, without input feeding: the state *after* the step asks, and the
                context goes to the readout only. So all steps of the decoder's network run in one call, and all
                attention in one product.

Shapes: b batch, S source positions, T target steps, H hidden size, L layers, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import nn

from models.seq2seq.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    MultiHeadAttention,
)
from models.seq2seq.base import PAD, Seq2Seq, State, padding_mask
from models.seq2seq.encoder import Carry, RecurrentEncoder, recurrent, run

LUONG: dict[str, Callable[[int, int], Attention]] = {
    "dot": lambda size, _heads: DotAttention(size),
    "scaled_dot": lambda size, _heads: DotAttention(size, scale=size**-0.5),
    "general": lambda size, _heads: GeneralAttention(size),
    "concat": lambda size, _heads: AdditiveAttention(size, size, size),
    "multihead": MultiHeadAttention,
}
"""(hidden size, heads) -> attention of the decoders whose current state asks."""


class RecurrentSeq2Seq(Seq2Seq):
    """Encoder, embeddings and readout; a subclass says what the decoder reads and where its context comes from."""

    def __init__(
        self,
        cell: str,
        vocab_size: int,
        hidden_size: int,
        layers: int,
        dropout: float,
        *,
        decoder_input: int,
        context_size: int,
    ) -> None:
        """`decoder_input` and `context_size` are the sizes of a decoder step's input and of the readout's context."""
        super().__init__(vocab_size)
        self.source_embedding = embedding(vocab_size, hidden_size)
        self.target_embedding = embedding(vocab_size, hidden_size)
        self.encoder = RecurrentEncoder(cell, hidden_size, hidden_size, layers, dropout)
        self.decoder = recurrent(cell, decoder_input, hidden_size, layers, dropout)
        self.combine = nn.Linear(context_size + hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, vocab_size)
        self.dropout = nn.Dropout(dropout)

    def encode(self, source: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, Carry]:
        """Annotations (b, S, 2H), 0 on padding, and the decoder's first carry, each (b, L, H)."""
        return self.encoder(self.dropout(self.source_embedding(source)), lengths)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, T) to (b, T, H)."""
        return self.dropout(self.target_embedding(tokens))

    def readout(self, context: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Contexts (b, T, context) and states (b, T, H) to logits (b, T, V)."""
        return self.output(self.dropout(torch.tanh(self.combine(torch.cat([context, states], dim=-1)))))


class PlainSeq2Seq(RecurrentSeq2Seq):
    """No attention: the decoder's first state is also the input and the context of every step."""

    def __init__(self, cell: str, vocab_size: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__(
            cell, vocab_size, hidden_size, layers, dropout, decoder_input=2 * hidden_size, context_size=hidden_size
        )

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        _, carry = self.encode(source, lengths)
        return State((carry[0][:, -1:],), carry)  # (b, 1, H), of the top layer

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        context = state.memory[0].expand(-1, tokens.size(1), -1)
        states, carry = run(self.decoder, torch.cat([self.embed(tokens), context], dim=-1), state.carry)
        return self.readout(context, states), None, State(state.memory, carry)


class LuongSeq2Seq(RecurrentSeq2Seq):
    """The current state asks, so that all steps run at once.

    `memory`, one linear layer, takes the annotations from 2H to H, for dot products need vectors of one size. Keys and
    values both come from it: were only the keys projected, dot would be general under another name.
    """

    def __init__(
        self, cell: str, attention: Attention, vocab_size: int, hidden_size: int, layers: int, dropout: float
    ) -> None:
        super().__init__(
            cell, vocab_size, hidden_size, layers, dropout, decoder_input=hidden_size, context_size=hidden_size
        )
        self.memory = nn.Linear(2 * hidden_size, hidden_size)
        self.attention = attention

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        annotations, carry = self.encode(source, lengths)
        keys, values = self.attention.prepare(self.memory(annotations))
        return State((keys, values, padding_mask(lengths, source.size(1))), carry)

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        states, carry = run(self.decoder, self.embed(tokens), state.carry)
        context, weights = self.attention(states, *state.memory)
        return self.readout(context, states), weights, State(state.memory, carry)


class BahdanauSeq2Seq(RecurrentSeq2Seq):
    """The state before the step asks, and the context joins the embedding as the step's input.

    As in the paper, keys and values are the annotations (b, S, 2H) themselves: an additive score needs no equal sizes.
    The readout is the one that all variants share, and not the paper's maxout layer.
    """

    def __init__(self, cell: str, vocab_size: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__(
            cell,
            vocab_size,
            hidden_size,
            layers,
            dropout,
            decoder_input=3 * hidden_size,
            context_size=2 * hidden_size,
        )
        self.attention = AdditiveAttention(hidden_size, 2 * hidden_size, hidden_size)

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        annotations, carry = self.encode(source, lengths)
        keys, values = self.attention.prepare(annotations)
        return State((keys, values, padding_mask(lengths, source.size(1))), carry)

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        carry, steps = state.carry, []
        for embedded in self.embed(tokens).split(1, dim=1):
            context, weights = self.attention(carry[0][:, -1:], *state.memory)
            states, carry = run(self.decoder, torch.cat([embedded, context], dim=-1), carry)
            steps.append((context, states, weights))
        context, states, weights = (torch.cat(parts, dim=1) for parts in zip(*steps, strict=True))
        return self.readout(context, states), weights, State(state.memory, carry)


def embedding(vocab_size: int, size: int) -> nn.Embedding:
    """Table (V, size) from N(0, 1 / size), rows of length about 1; padding's row is 0 and stays so."""
    table = nn.Embedding(vocab_size, size, padding_idx=PAD)
    nn.init.normal_(table.weight, std=size**-0.5)
    nn.init.zeros_(table.weight.detach()[PAD])
    return table
