"""How the starters over an encoder are trained unless a person says otherwise: the one visible table."""

import dataclasses
from dataclasses import dataclass

from experiments.config import StarterConfig
from experiments.starters.encoders.encoder import Size


@dataclass(frozen=True)
class Recipe:
    """Size of the encoder, and how it is trained."""

    size: Size
    epochs: int
    batch_size: int
    learning_rate: float
    dropout: float = 0.1
    weight_decay: float = 0.01
    optimizer: str = "adamw"
    schedule: str = "one_cycle"
    warmup: float = 0.1
    grad_clip: float = 1.0
    ema_decay: float = 0.0


RECIPES = {
    "sentiment-analysis": Recipe(Size(layers=6, units=768, pieces=11_000, window=128), 4, 32, 1e-4),
    "question-answering": Recipe(Size(layers=6, units=1536, pieces=14_000, window=256), 3, 16, 1.2e-4),
    "summarization": Recipe(Size(layers=5, units=512, pieces=8000, window=512), 4, 16, 1e-4),
}


def resolve(config: StarterConfig) -> StarterConfig:
    """The configuration with every `auto` that the recipe knows filled in."""
    recipe = dataclasses.asdict(RECIPES[config.task])
    known = {name: value for name, value in recipe.items() if hasattr(config, name)}
    return dataclasses.replace(
        config, **{name: value for name, value in known.items() if getattr(config, name) is None}
    )
