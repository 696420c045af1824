"""How each convolutional network is trained by default: one table."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.cnn.pretrained import CATALOG
from experiments.config import IMAGE_SIZE, RANDOM, CnnConfig, ConfigError, check_image_size, check_weights, is_own
from experiments.data.folders import count_training


@dataclass(frozen=True)
class CnnRecipe:
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
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what differs, by data set


# Found by validation (docs/results/recipes.md): steps that are orthogonalized, smaller images in the first epochs, and
# shifts that are not as large as for long trainings. `tune` found all but COLOR and what alexnet_small has instead.
COLOR = {"optimizer": "muon", "learning_rate": 0.05, "weight_decay": 0.1, "crop": 2}
GRAY = {"optimizer": "muon", "learning_rate": 0.07, "weight_decay": 0.05, "batch_size": 256, "label_smoothing": 0.04}
LENET5_GRAY = {**GRAY, "learning_rate": 0.09, "label_smoothing": 0.2}
LENET5_COLOR = {
    "optimizer": "muon",
    "learning_rate": 0.045,
    "weight_decay": 0.03,
    "batch_size": 256,
    "label_smoothing": 0.03,
    "crop": 2,
}
FIXED_SIZE = {"mnist": GRAY, "fashion_mnist": {**GRAY, "crop": 1}, "cifar10": COLOR}
ANY_SIZE = {dataset: {**values, "small_size": 24} for dataset, values in FIXED_SIZE.items()}
RESNET20 = CnnRecipe({"digits": 15, "mnist": 4, "fashion_mnist": 7, "cifar10": 10}, overrides=ANY_SIZE)
VGG = CnnRecipe({"digits": 20, "mnist": 15, "fashion_mnist": 30, "cifar10": 60}, learning_rate=0.02, grad_clip=5.0)
BATCH_NORM = CnnRecipe({"digits": 20, "mnist": 15, "fashion_mnist": 30, "cifar10": 60})
RECIPES: dict[str, CnnRecipe] = {
    # For a laptop: epochs that two CPU cores finish in ten minutes, on Fashion-MNIST in five; too few for shifts as
    # large as long trainings need.
    "lenet5": CnnRecipe(
        {"digits": 30, "mnist": 20, "fashion_mnist": 30, "cifar10": 80},
        optimizer="adamw",
        learning_rate=0.004,
        weight_decay=0.01,
        label_smoothing=0.0,
        overrides={"mnist": LENET5_GRAY, "fashion_mnist": {**LENET5_GRAY, "crop": 0}, "cifar10": LENET5_COLOR},
    ),
    "alexnet_small": CnnRecipe(
        {"digits": 15, "mnist": 7, "fashion_mnist": 13, "cifar10": 23},
        overrides={**FIXED_SIZE, "cifar10": {**COLOR, "learning_rate": 0.03, "weight_decay": 0.05}},
    ),
    "vgg_small": CnnRecipe({"digits": 15, "mnist": 6, "fashion_mnist": 11, "cifar10": 12}, overrides=ANY_SIZE),
    "resnet20": RESNET20,
    "seresnet20": CnnRecipe({"digits": 15, "mnist": 4, "fashion_mnist": 6, "cifar10": 9}, overrides=ANY_SIZE),
    "xception_small": CnnRecipe({"digits": 15, "mnist": 5, "fashion_mnist": 8, "cifar10": 15}, overrides=ANY_SIZE),
    "resnet56": RESNET20,  # not searched for, and three times the operations: beyond ten minutes on CIFAR-10
    # For one data-center GPU.
    "alexnet": CnnRecipe(
        {"digits": 20, "mnist": 20, "fashion_mnist": 40, "cifar10": 100}, learning_rate=0.02, grad_clip=5.0
    ),
    **{f"vgg{depth}": VGG for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": BATCH_NORM for depth in (11, 13, 16, 19)},
    "xception": CnnRecipe({"digits": 20, "mnist": 12, "fashion_mnist": 25, "cifar10": 40}),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "seresnet18", "seresnet50", "senet154"), BATCH_NORM),
}
# Mirrored digits are other digits or none; mirrored clothes and things are as before.
AUGMENTATION = {
    "digits": {"crop": 2, "flip": False, "cutout": 0},
    "mnist": {"crop": 2, "flip": False, "cutout": 0},
    "fashion_mnist": {"crop": 2, "flip": True, "cutout": 0},
    "cifar10": {"crop": 4, "flip": True, "cutout": 0},
}
OWN_AUGMENTATION = {"crop": 2, "flip": False, "cutout": 0}  # mirrored ones may be of another class, or of none
LARGE = 10_000  # own pictures: fewer take the epochs of digits, more those of CIFAR-10
MOST_CROP = 16
LEAST_STEPS, LEAST_BATCH = 8, 8  # in an epoch on own pictures
# Pretrained weights are spoiled by the learning rates that random ones need.
PRETRAINED_RATE, TRUNK_FRACTION, FROZEN_FRACTION = 0.02, 0.1, 5
FROM_RANDOM = {"freeze_epochs": 0, "trunk_learning_rate": 1.0}
SMALL_FRACTION = 0.6  # of the epochs, on small images


def resolve(config: CnnConfig) -> CnnConfig:
    """The configuration with every `auto` that the recipe knows filled in.

    That of own pictures depends on how many there are. Raises DataError where they cannot be listed, ConfigError for an
    `image_size` that the data set is not served in, and for pretrained weights that there are not.
    """
    check_image_size(config.image_size, [config.dataset])
    check_weights(config)
    recipe = RECIPES[config.model]
    if is_own(config.dataset):
        return _resolve_own(config, recipe)
    epochs = recipe.epochs[config.dataset]
    values = {**dataclasses.asdict(recipe), **AUGMENTATION[config.dataset], "epochs": epochs, **FROM_RANDOM}
    values |= recipe.overrides.get(config.dataset, {})
    return config.filled(values | _small(config, values.get("small_size", 0), epochs))


def _small(config: CnnConfig, size: int, epochs: int) -> dict[str, int]:
    """How large images are in the first epochs, and in how many. Raises ConfigError for epochs that cannot be."""
    size = size if config.small_size is None else config.small_size
    if not size and config.small_epochs:
        raise ConfigError(f"small_epochs is {config.small_epochs}, which needs a small_size; valid: 0, or a small_size")
    epochs = config.epochs or epochs
    most = epochs - 1  # the last epoch is on whole images, which the network is tested on
    if (config.small_epochs or 0) > most:
        of, valid = ("1 epoch", "0") if epochs == 1 else (f"{epochs} epochs", f"0 to {most}")
        raise ConfigError(
            f"small_epochs is {config.small_epochs}, of {of}; valid: {valid}, as the last epoch is on whole images"
        )
    return {"small_size": size, "small_epochs": min(round(SMALL_FRACTION * epochs), most) if size else 0}


def _resolve_own(config: CnnConfig, recipe: CnnRecipe) -> CnnConfig:
    files = count_training(config.dataset)
    count = min(config.train_size or files, files)
    batch_size = recipe.batch_size
    while batch_size > LEAST_BATCH and batch_size * LEAST_STEPS > count:
        batch_size //= 2
    values = {
        **dataclasses.asdict(recipe),
        **OWN_AUGMENTATION,
        "crop": min(MOST_CROP, OWN_AUGMENTATION["crop"] * config.image_size // IMAGE_SIZE),
        "epochs": recipe.epochs["digits" if count < LARGE else "cifar10"],
        "batch_size": max(2, min(batch_size, count // 2)),
    }
    values |= _small(config, 0, values["epochs"])
    if config.weights == RANDOM:
        return config.filled(values | FROM_RANDOM)
    epochs = config.epochs or values["epochs"]
    pretrained = {
        "learning_rate": PRETRAINED_RATE,
        "trunk_learning_rate": TRUNK_FRACTION,
        "freeze_epochs": max(1, epochs // FROZEN_FRACTION),
        "revision": CATALOG[config.model].revision,
    }
    return config.filled(values | pretrained)
