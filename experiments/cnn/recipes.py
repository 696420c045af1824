"""How each convolutional network is trained by default: one table."""

import dataclasses
from dataclasses import dataclass

from experiments.config import CnnConfig


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and regularization of one architecture, and its epochs by data set."""

    epochs: dict[str, int]
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    warmup: float = 0.2
    label_smoothing: float = 0.1
    grad_clip: float = 0.0
    ema_decay: float = 0.0
    crop: int | None = None  # on cifar10, where it differs from AUGMENTATION


def epochs(digits: int, mnist: int, fashion_mnist: int, cifar10: int) -> dict[str, int]:
    """Epochs by data set."""
    return {"digits": digits, "mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10}


# For a laptop: epochs that two CPU cores finish in ten minutes.
LENET5 = Recipe(epochs(30, 10, 20, 60), optimizer="adamw", learning_rate=0.004, weight_decay=0.01, label_smoothing=0.0)


# So few epochs do not need shifts as large as long trainings do.
ALEXNET_SMALL = Recipe(epochs(15, 6, 10, 15), crop=2)


VGG_SMALL = Recipe(epochs(15, 4, 8, 10), crop=2)


RESNET20 = Recipe(epochs(15, 3, 6, 8), crop=2)


SERESNET20 = Recipe(epochs(15, 3, 5, 7), crop=2)


XCEPTION_SMALL = Recipe(epochs(15, 4, 8, 13), crop=2)


# For one data-center GPU.
ALEXNET = Recipe(epochs(20, 20, 40, 100), learning_rate=0.02, grad_clip=5.0)


VGG = Recipe(epochs(20, 15, 30, 60), learning_rate=0.02, grad_clip=5.0)


VGG_BN = Recipe(epochs(20, 15, 30, 60))


RESNET = Recipe(epochs(20, 15, 30, 60))


XCEPTION = Recipe(epochs(20, 12, 25, 40))


RECIPES: dict[str, Recipe] = {
    "lenet5": LENET5,
    "alexnet_small": ALEXNET_SMALL,
    "vgg_small": VGG_SMALL,
    "resnet20": RESNET20,
    "seresnet20": SERESNET20,
    "xception_small": XCEPTION_SMALL,
    "resnet56": RESNET20,
    "alexnet": ALEXNET,
    **{f"vgg{depth}": VGG for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": VGG_BN for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": RESNET for depth in (18, 34, 50)},
    "xception": XCEPTION,
    "seresnet18": RESNET,
    "seresnet50": RESNET,
    "senet154": RESNET,
}


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
    values = {
        **dataclasses.asdict(recipe),
        **AUGMENTATION[config.dataset],
        "epochs": recipe.epochs[config.dataset],
    }
    if config.dataset == "cifar10" and recipe.crop is not None:
        values["crop"] = recipe.crop
    return config.filled(values)
