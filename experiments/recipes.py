"""How each architecture is trained unless a person says otherwise: the one visible table.

A recipe fills in what the command line left at `auto`. All values were chosen by validation accuracy.
"""

import dataclasses
from dataclasses import dataclass

from experiments.config import CnnConfig


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and regularisation of one architecture; `epochs` by data set.

    `crop`, `flip` and `cutout` hold for cifar10; the other data sets have their own in `AUGMENTATION`.
    """

    epochs: dict[str, int]
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    grad_clip: float = 0.0
    ema_decay: float = 0.0


RECIPES: dict[str, Recipe] = {
    "lenet5": Recipe(
        epochs={"digits": 30, "mnist": 10, "fashion_mnist": 20, "cifar10": 60},
        optimizer="adamw", learning_rate=0.004, weight_decay=0.01,
    ),
    "resnet20": Recipe(epochs={"digits": 20, "mnist": 5, "fashion_mnist": 10, "cifar10": 15}, label_smoothing=0.1),
    "resnet56": Recipe(epochs={"digits": 20, "mnist": 5, "fashion_mnist": 10, "cifar10": 15}, label_smoothing=0.1),
}  # fmt: skip

# Mirrored digits are other digits or none; mirrored clothes and things are as before.
AUGMENTATION = {
    "digits": {"crop": 2, "flip": False, "cutout": 0},
    "mnist": {"crop": 2, "flip": False, "cutout": 0},
    "fashion_mnist": {"crop": 2, "flip": True, "cutout": 0},
    "cifar10": {"crop": 4, "flip": True, "cutout": 0},
}


def resolve(config: CnnConfig) -> CnnConfig:
    """The configuration with every `auto` that the recipe knows filled in."""
    recipe = RECIPES[config.model]
    values = {**dataclasses.asdict(recipe), **AUGMENTATION[config.dataset], "epochs": recipe.epochs[config.dataset]}
    return dataclasses.replace(config, **{k: v for k, v in values.items() if getattr(config, k) is None})
