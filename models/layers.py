"""Blocks that two or more families share: residual networks (ResNet, SENet) and their parts (Xception too).

A residual block is written as two modules side by side, `Residual(branch, shortcut)`; the families differ only in the
branch, the shortcut and what follows the sum. In the shapes below `b` is the batch, `h` and `w` are height and width.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn

Block = Callable[[int, int, int], nn.Module]
"""Builds one block from (in_channels, out_channels, stride)."""


def he_initialize(network: nn.Module, mode: Literal["fan_in", "fan_out"]) -> None:
    """He et al. 2015, "Delving Deep into Rectifiers": Gaussian weights for all convolutions, biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, padding: int | None = None
) -> list[nn.Module]:
    """Convolution and batch norm, whose shift replaces the bias; by default padded so that stride 1 keeps the size."""
    padding = kernel_size // 2 if padding is None else padding
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, padding: int | None = None
) -> list[nn.Module]:
    """As `conv_bn`, with a ReLU behind it."""
    return [*conv_bn(in_channels, out_channels, kernel_size, stride, groups, padding), nn.ReLU(inplace=True)]


def conv_pool_bn_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3 x 3 convolution and 2 x 2 max-pooling for the networks made for a CPU; `(b, in, h, w)` to `(b, out, h/2, w/2)`.

    Pooling comes before batch norm and ReLU, which then have a quarter of the pixels to pass over.
    """
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return [conv, nn.MaxPool2d(2), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def projection(in_channels: int, out_channels: int, stride: int, kernel_size: int = 1) -> nn.Module:
    """Shortcut `(b, in, h, w)` to `(b, out, h / stride, w / stride)`: identity where that changes nothing."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(*conv_bn(in_channels, out_channels, kernel_size, stride))


class Residual(nn.Module):
    """`branch(x) + shortcut(x)`; both map `(b, in, h, w)` to the same shape, and `branch` must not write into x."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x) + self.shortcut(x)


def residual_block(branch: Sequence[nn.Module], shortcut: nn.Module) -> nn.Module:
    """The block of ResNet and SENet: a sum with ReLU behind it."""
    return nn.Sequential(Residual(nn.Sequential(*branch), shortcut), nn.ReLU(inplace=True))


def basic_branch(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """Two 3 x 3 convolutions; `(b, in, h, w)` to `(b, out, h / stride, w / stride)`."""
    return [*conv_bn_relu(in_channels, out_channels, 3, stride), *conv_bn(out_channels, out_channels, 3)]


def bottleneck_branch(
    in_channels: int, reduced: int, width: int, out_channels: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    """1 x 1 to `reduced` channels, 3 x 3 to `width`, 1 x 1 to `out`; `(b, in, h, w)` to `(b, out, h / stride, ...)`.

    The stride is on the 3 x 3: on the first 1 x 1, where the papers have it, three of four pixels are never read.
    """
    return [
        *conv_bn_relu(in_channels, reduced, 1),
        *conv_bn_relu(reduced, width, 3, stride, groups),
        *conv_bn(width, out_channels, 1),
    ]


class ResidualNetwork(nn.Module):
    """Stem, stages of blocks, global mean, one linear layer; images `(b, channels, h, w)` to logits `(b, classes)`.

    Every stage but the first halves height and width in its first block. `features` ends before the mean.
    """

    def __init__(
        self,
        stem: Sequence[nn.Module],
        stem_channels: int,
        block: Block,
        stages: Sequence[tuple[int, int]],
        num_classes: int,
        dropout: float = 0.0,
    ) -> None:
        """Stages are pairs (output channels, number of blocks)."""
        super().__init__()
        layers = [nn.Sequential(*stem)]
        channels = stem_channels
        for index, (width, depth) in enumerate(stages):
            first = block(channels, width, 2 if index else 1)
            layers.append(nn.Sequential(first, *(block(width, width, 1) for _ in range(depth - 1))))
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        # Which the ResNet paper names; over the fan-out as in torchvision.
        he_initialize(self, mode="fan_out")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def residual_stem(in_channels: int, stem: str) -> list[nn.Module]:
    """The 64-channel stem of ResNet and SE-ResNet: `(b, channels, h, w)` to `(b, 64, h / 4, w / 4)`, small keeps h, w.

    imagenet: 7 x 7 stride 2, then max-pooling. small: 3 x 3 stride 1 without pooling, because 32 px divided by the 32
    of the original would leave the last stages a single pixel.
    """
    if stem == "small":
        return conv_bn_relu(in_channels, 64, 3)
    return [*conv_bn_relu(in_channels, 64, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)]
