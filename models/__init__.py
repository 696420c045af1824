"""The networks: torch in, torch out. Nothing here reads files, parses arguments or knows MLflow."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

# Modules and not functions: `from models.alexnet import alexnet` would hide the module `models.alexnet`.
from models import alexnet, lenet, resnet, senet, vgg, xception


class Architecture(NamedTuple):
    """A row of the architecture table: who builds it, and for which kinds of input it exists."""

    builder: Callable[[int, int, str], nn.Module]
    stems: tuple[str, ...]


ARCHITECTURES: dict[str, Architecture] = {
    "lenet5": Architecture(lenet.lenet5, ("small",)),
    "alexnet": Architecture(alexnet.alexnet, ("imagenet", "small")),
    "alexnet_small": Architecture(alexnet.alexnet_small, ("small",)),
    "vgg11": Architecture(vgg.vgg11, ("imagenet", "small")),
    "vgg11_bn": Architecture(vgg.vgg11_bn, ("imagenet", "small")),
    "vgg13": Architecture(vgg.vgg13, ("imagenet", "small")),
    "vgg13_bn": Architecture(vgg.vgg13_bn, ("imagenet", "small")),
    "vgg16": Architecture(vgg.vgg16, ("imagenet", "small")),
    "vgg16_bn": Architecture(vgg.vgg16_bn, ("imagenet", "small")),
    "vgg19": Architecture(vgg.vgg19, ("imagenet", "small")),
    "vgg19_bn": Architecture(vgg.vgg19_bn, ("imagenet", "small")),
    "vgg_small": Architecture(vgg.vgg_small, ("small",)),
    "resnet18": Architecture(resnet.resnet18, ("imagenet", "small")),
    "resnet34": Architecture(resnet.resnet34, ("imagenet", "small")),
    "resnet50": Architecture(resnet.resnet50, ("imagenet", "small")),
    "resnet20": Architecture(resnet.resnet20, ("small",)),
    "resnet56": Architecture(resnet.resnet56, ("small",)),
    "xception": Architecture(xception.xception, ("imagenet", "small")),
    "xception_small": Architecture(xception.xception_small, ("small",)),
    "seresnet18": Architecture(senet.seresnet18, ("imagenet", "small")),
    "seresnet50": Architecture(senet.seresnet50, ("imagenet", "small")),
    "senet154": Architecture(senet.senet154, ("imagenet", "small")),
    "seresnet20": Architecture(senet.seresnet20, ("small",)),
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
    builder, stems = ARCHITECTURES[name]
    if stem not in stems:
        raise ValueError(f"{name} has no stem {stem!r}; valid: {', '.join(stems)}")
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels is {in_channels}; valid: 1 or 3")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; valid: 1 or more")
    return builder(num_classes, in_channels, stem)
