"""What a recipe for a starter model brings: how it is trained, judged and described.

A starter is a small model in standard Hugging Face format that this project trains and ships, so that every task works
on the first day without a network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.training.family import Family
from tasks.catalog import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "starters"


@dataclass(frozen=True)
class Figure:
    """One measured number of a model card.

    Attributes:
        name: what was measured, such as "accuracy on SST-2 dev (872 sentences)".
        beside: what it has to be seen beside, such as "majority class 0.509"; empty where there is nothing.
        digits: decimals that are shown.
    """

    name: str
    value: float
    beside: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Judgment:
    """What a starter did on held-out data: figures, and longer examples as Markdown, such as unselected replies."""

    figures: tuple[Figure, ...]
    examples: str = ""


@dataclass(frozen=True)
class Starter:
    """One starter model.

    Attributes:
        name: of its folder under `starters/`.
        tasks: the tasks that it serves.
        family: how it is trained; the run's entry point is `starter`.
        judge: `judge(folder, data_dir)` measures a trained model folder on held-out data; UserError names data that
            are missing.
        about: Markdown for the model card: what it is, data and licenses, what it cannot do.
        front: the card's metadata, as the Hub reads them: license, language, datasets, base_model.
    """

    name: str
    tasks: tuple[str, ...]
    family: Family[Any, Any]
    judge: Callable[[Path, Path], Judgment]
    about: str
    front: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return FOLDER / self.name
