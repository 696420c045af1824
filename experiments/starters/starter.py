"""What makes a starter: a small model in standard Hugging Face format that this project trains and ships.

With the starters, these tasks work on the first day, offline. What a model is, its license and its limits are written
by hand in its card, `starters/NAME/README.md`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.training.family import Family
from tasks.catalog import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "starters"


class Figure(NamedTuple):
    """One measured number of a model card; `beside` is what to compare it with, such as `majority class 0.509`."""

    name: str
    value: float
    beside: str = ""
    digits: int = 3


class StarterEvaluation(NamedTuple):
    """What a starter did on held-out data: figures, and longer examples as Markdown, such as unselected answers."""

    figures: tuple[Figure, ...]
    examples: str = ""


@dataclass(frozen=True)
class StarterRecipe:
    """How a starter is trained unless the user says otherwise, by the names of `StarterConfig`."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    optimizer: str = "adamw"
    schedule: str = "one_cycle"
    warmup: float = 0.1
    grad_clip: float = 1.0
    ema_decay: float = 0.0


@dataclass(frozen=True)
class Starter:
    """One starter.

    Attributes:
        name: of its folder under `starters/`.
        family: how it is trained; the run's entry point is `starter`.
        evaluate: `evaluate(folder, data_dir)` measures a trained model folder on held-out data; UserError names data
            that are missing.
    """

    name: str
    task: str
    family: Family[Any, Any]
    evaluate: Callable[[Path, Path], StarterEvaluation]

    @property
    def folder(self) -> Path:
        return FOLDER / self.name
