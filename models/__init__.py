"""The networks: torch in, torch out. Nothing here reads files, parses arguments or knows MLflow."""

import importlib
from typing import NamedTuple

from torch import nn


class Architecture(NamedTuple):
    """A row of the architecture table: the module that builds it, and for which kinds of input it exists.

    `fixed`: with the stem `small` it takes images of 32 x 32 only, as its first linear layer sees whole feature maps.
    """

    family: str
    stems: tuple[str, ...]
    fixed: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "lenet5": Architecture("lenet", ("small",), fixed=True),
    "alexnet": Architecture("alexnet", ("imagenet", "small"), fixed=True),
    "alexnet_small": Architecture("alexnet", ("small",), fixed=True),
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


SMALL_SIZE, IMAGENET_SIZE = 32, 128  # of images: that of the small stems, and the least for those of the papers


def stem_for(name: str, size: int) -> str:
    """The stem with which a network takes images of `size` x `size`. Raises ValueError if with none."""
    architecture = ARCHITECTURES[name]
    if size >= IMAGENET_SIZE and "imagenet" in architecture.stems:
        return "imagenet"
    if size != SMALL_SIZE and architecture.fixed:
        larger = f", or from {IMAGENET_SIZE} px" if "imagenet" in architecture.stems else ""
        raise ValueError(f"{name} takes images of {SMALL_SIZE} px{larger}; valid: such a size, or another network")
    return "small"


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
    family, stems, _ = ARCHITECTURES[name]
    if stem not in stems:
        raise ValueError(f"{name} has no stem {stem!r}; valid: {', '.join(stems)}")
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels is {in_channels}; valid: 1 or 3")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; valid: 1 or more")
    return getattr(importlib.import_module(f"models.{family}"), name)(num_classes, in_channels, stem)
