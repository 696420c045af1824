"""How each encoder-decoder is trained by default: one table."""

import dataclasses
from dataclasses import dataclass

from experiments.config import Seq2SeqConfig


@dataclass(frozen=True)
class Seq2SeqRecipe:
    """Layers of one kind of encoder-decoder, and how it is trained."""

    layers: int = 1
    epochs: int = 8
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 0.004
    weight_decay: float = 0.0
    schedule: str = "one_cycle"
    warmup: float = 0.1
    grad_clip: float = 1.0
    ema_decay: float = 0.0
    teacher_forcing: float = 1.0


# Learning rates, each the best of three by validation (one seed, 5 epochs, GRU): 0.004, 0.008, 0.016.
RECURRENT_RATES = {
    "none": 0.008,
    "additive": 0.008,
    "dot": 0.004,
    "scaled_dot": 0.004,
    "general": 0.004,
    "concat": 0.008,
    "multihead": 0.004,
}
# The same for positions: 0.002, 0.004, 0.008 (without positions only the first two: neither learned anything).
TRANSFORMER_RATES = {"none": 0.004, "sinusoidal": 0.004, "learned": 0.008, "rotary": 0.008, "relative": 0.004}
SEQ2SEQ_RECIPES: dict[str, Seq2SeqRecipe] = {
    **{
        f"{cell}-{attention}": Seq2SeqRecipe(learning_rate=rate)
        for cell in ("gru", "lstm")
        for attention, rate in RECURRENT_RATES.items()
    },
    **{
        f"transformer-{positions}": Seq2SeqRecipe(layers=2, learning_rate=rate)
        for positions, rate in TRANSFORMER_RATES.items()
    },
}


def resolve_seq2seq(config: Seq2SeqConfig) -> Seq2SeqConfig:
    """The configuration with every `auto` that the recipe knows filled in."""
    return config.filled(dataclasses.asdict(SEQ2SEQ_RECIPES[config.model]))
