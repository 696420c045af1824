"""Sequence-to-sequence networks: recurrent ones by kind of attention, and a Transformer by kind of positions.

They map token sequences to token sequences and know nothing of what the tokens mean.
"""

from models.seq2seq.base import BOS, EOS, PAD, SPECIALS, Output, Seq2Seq, State
from models.seq2seq.decoding import Decoded, beam, greedy
from models.seq2seq.recurrent import LUONG, BahdanauSeq2Seq, LuongSeq2Seq, PlainSeq2Seq
from models.seq2seq.transformer import Transformer

ATTENTIONS = ("none", "additive", "dot", "scaled_dot", "general", "concat", "multihead")
CELLS = ("gru", "lstm", "transformer")
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "relative")
LAYERS = {"gru": 1, "lstm": 1, "transformer": 2}
"""Layers of encoder and decoder each, where the caller does not say."""

__all__ = [
    "ATTENTIONS",
    "BOS",
    "CELLS",
    "EOS",
    "LAYERS",
    "PAD",
    "POSITIONS",
    "SPECIALS",
    "Decoded",
    "Output",
    "Seq2Seq",
    "State",
    "beam",
    "build",
    "greedy",
]


def build(
    cell: str,
    attention: str,
    positions: str,
    vocab_size: int,
    hidden_size: int,
    *,
    max_length: int,
    dropout: float = 0.0,
    heads: int = 4,
    layers: int | None = None,
) -> Seq2Seq:
    """Build a network, freshly initialized.

    Args:
        cell: one of `CELLS`.
        attention: one of `ATTENTIONS`; ignored by a Transformer, whose attention is always multi-head scaled dot.
        positions: one of `POSITIONS`; ignored by recurrent cells, which count for themselves.
        vocab_size: number of tokens, the `SPECIALS` included, so at least `SPECIALS` + 1.
        hidden_size: size of states and embeddings.
        max_length: the longest source, BOS and EOS included, that learned positions have a row of their own for.
        dropout: probability, at least 0 and below 1.
        heads: of multi-head attention and of a Transformer; must divide `hidden_size`.
        layers: of encoder and of decoder; `LAYERS` by default.

    Raises ValueError, naming what is valid, for an unknown name or a size that does not fit.
    """
    layers = LAYERS.get(cell, 1) if layers is None else layers
    check_names(cell, attention, positions)
    check_sizes(vocab_size, hidden_size, max_length, heads, layers, dropout)
    if cell == "transformer":
        check_heads(hidden_size, heads, positions)
        return Transformer(
            positions, vocab_size, hidden_size, max_length=max_length, dropout=dropout, heads=heads, layers=layers
        )
    if attention == "multihead":
        check_heads(hidden_size, heads, "none")
    if attention == "none":
        return PlainSeq2Seq(cell, vocab_size, hidden_size, layers, dropout)
    if attention == "additive":
        return BahdanauSeq2Seq(cell, vocab_size, hidden_size, layers, dropout)
    return LuongSeq2Seq(cell, LUONG[attention](hidden_size, heads), vocab_size, hidden_size, layers, dropout)


def check_names(cell: str, attention: str, positions: str) -> None:
    """ValueError that names the valid ones where one is unknown, used or not."""
    for name, value, valid in (
        ("cell", cell, CELLS),
        ("attention", attention, ATTENTIONS),
        ("positions", positions, POSITIONS),
    ):
        if value not in valid:
            raise ValueError(f"unknown {name} {value!r}; valid: {', '.join(valid)}")


def check_sizes(vocab_size: int, hidden_size: int, max_length: int, heads: int, layers: int, dropout: float) -> None:
    """ValueError that names the valid range where a number is outside it."""
    for name, size, least in (
        ("vocab_size", vocab_size, SPECIALS + 1),
        ("hidden_size", hidden_size, 1),
        ("max_length", max_length, 1),
        ("heads", heads, 1),
        ("layers", layers, 1),
    ):
        if size < least:
            raise ValueError(f"{name} is {size}; valid: {least} or more")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; valid: at least 0 and below 1")


def check_heads(hidden_size: int, heads: int, positions: str) -> None:
    """ValueError where `heads` do not divide `hidden_size`, or sizes do not suit the positions."""
    if hidden_size % heads:
        raise ValueError(f"heads is {heads}; valid: a divisor of hidden_size, which is {hidden_size}")
    if positions == "rotary" and hidden_size // heads % 2:
        raise ValueError(f"hidden_size is {hidden_size}; valid for rotary: an even multiple of heads, {heads}")
    if positions == "relative" and heads % 2:
        raise ValueError(f"heads is {heads}; valid for relative: even, half of them for each direction")
    if positions == "sinusoidal" and hidden_size % 2:
        raise ValueError(f"hidden_size is {hidden_size}; valid for sinusoidal: even")
