"""The networks: torch in, torch out. Nothing here reads files, parses arguments or knows MLflow."""

import importlib
from typing import NamedTuple

from torch import nn


class Architecture(NamedTuple):
    """A row of the architecture table: the module that builds it, and for which kinds of input it exists."""

    family: str
    stems: tuple[str, ...]


ARCHITECTURES: dict[str, Architecture] = {
    "lenet5": Architecture("lenet", ("small",)),
    "alexnet": Architecture("alexnet", ("imagenet", "small")),
    "alexnet_small": Architecture("alexnet", ("small",)),
    "vgg11": Architecture("vgg", ("imagenet", "small")),
    "vgg11_bn": Architecture("vgg", ("imagenet", "small")),
    "vgg13": Architecture("vgg", ("imagenet", "small")),
    "vgg13_bn": Architecture("vgg", ("imagenet", "small")),
    "vgg16": Architecture("vgg", ("imagenet", "small")),
    "vgg16_bn": Architecture("vgg", ("imagenet", "small")),
    "vgg19": Architecture("vgg", ("imagenet", "small")),
    "vgg19_bn": Architecture("vgg", ("imagenet", "small")),
    "vgg_small": Architecture("vgg", ("small",)),
    "resnet18": Architecture("resnet", ("imagenet", "small")),
    "resnet34": Architecture("resnet", ("imagenet", "small")),
    "resnet50": Architecture("resnet", ("imagenet", "small")),
    "resnet20": Architecture("resnet", ("small",)),
    "resnet56": Architecture("resnet", ("small",)),
    "xception": Architecture("xception", ("imagenet", "small")),
    "xception_small": Architecture("xception", ("small",)),
    "seresnet18": Architecture("senet", ("imagenet", "small")),
    "seresnet50": Architecture("senet", ("imagenet", "small")),
    "senet154": Architecture("senet", ("imagenet", "small")),
    "seresnet20": Architecture("senet", ("small",)),
}


def build(name: str, num_classes: int, in_channels: int = 3, stem: str = "small") -> nn.Module:
    """Build a network by name, freshly initialized.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: length of the output vector, at least 1.
        in_channels: 1 (gray) or 3 (color).
        stem: "imagenet", the network of the paper for its own image size (224 px, Xception 299), or "small", its
            adaptation to 32 x 32 images.

    Returns a module that maps images `(batch, in_channels, height, width)` to logits `(batch, num_classes)`.

    Raises ValueError, naming what is valid, for an unknown name, stem, or number of classes or channels.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; valid: {', '.join(ARCHITECTURES)}")
    family, stems = ARCHITECTURES[name]
    if stem not in stems:
        raise ValueError(f"{name} has no stem {stem!r}; valid: {', '.join(stems)}")
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels is {in_channels}; valid: 1 or 3")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; valid: 1 or more")
    return getattr(importlib.import_module(f"models.{family}"), name)(num_classes, in_channels, stem)
