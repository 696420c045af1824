"""Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017.

`xception` is the network of figure 5 and equals timm's `legacy_xception` with weights copied: 22,855,952 parameters for
1,000 classes. As in the paper there is nothing between a depthwise convolution and its pointwise one (section 4.7),
batch norm follows every convolution, and dropout of 0.5 precedes the linear layer (section 4.4).

The small stem changes resolution only: the first convolution has stride 1, both stem convolutions are padded, and the
third block of the entry flow does not downsample, so that 32 x 32 images pass the middle flow as 8 x 8 maps (20.8
million parameters for ten classes). `xception_small` is for a CPU: see its docstring.

Initialization: the paper names none. He et al. 2015 over the fan-in: PyTorch counts a depthwise convolution's fan-out
as if each input reached all channels, and would make its weights smaller by the root of their number.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from models.layers import Residual, conv_bn_relu, he_initialize, projection


def separable_conv_bn(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3 x 3 within each channel, 1 x 1 across channels, batch norm; `(b, in, h, w)` to `(b, out, h, w)`."""
    return [
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


def separable_block(widths: Sequence[int], stride: int = 1, relu_first: bool = True) -> nn.Module:
    """A block of figure 5; `(b, widths[0], h, w)` to `(b, widths[-1], h / stride, w / stride)`.

    `widths` are the channels before, between and after its separable convolutions, each with a ReLU in front.
    """
    branch: list[nn.Module] = []
    for index, (in_channels, out_channels) in enumerate(pairwise(widths)):
        if index > 0 or relu_first:
            # The first one must not be in place: the shortcut needs its input too.
            branch.append(nn.ReLU(inplace=index > 0))
        branch += separable_conv_bn(in_channels, out_channels)
    if stride > 1:
        branch.append(nn.MaxPool2d(3, stride, padding=1))
    return Residual(nn.Sequential(*branch), projection(widths[0], widths[-1], stride))


class Xception(nn.Module):
    """Features, global mean, one linear layer; images `(b, channels, h, w)` to logits `(b, classes)`."""

    def __init__(self, features: Sequence[nn.Module], width: int, num_classes: int, dropout: float) -> None:
        """Width is the number of channels that `features` end with."""
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
        he_initialize(self, mode="fan_in")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def xception(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """Xception: entry flow, middle flow, exit flow; 299 x 299 images reach the end as 10 x 10 maps, small as 4 x 4."""
    small = stem == "small"
    padding = 1 if small else 0
    entry = [
        *conv_bn_relu(in_channels, 32, 3, stride=1 if small else 2, padding=padding),
        *conv_bn_relu(32, 64, 3, padding=padding),
        separable_block((64, 128, 128), stride=2, relu_first=False),
        separable_block((128, 256, 256), stride=2),
        separable_block((256, 728, 728), stride=1 if small else 2),
    ]
    middle = [separable_block((728, 728, 728, 728)) for _ in range(8)]
    exit_flow = [
        separable_block((728, 728, 1024), stride=2),
        *(*separable_conv_bn(1024, 1536), nn.ReLU(inplace=True)),
        *(*separable_conv_bn(1536, 2048), nn.ReLU(inplace=True)),
    ]
    return Xception([*entry, *middle, *exit_flow], 2048, num_classes, dropout=0.5)


def xception_small(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """Xception's plan with one entry block, one middle block, and one exit block, for a laptop.

    For 32 x 32 images; 0.28 million parameters. Only the cheap dense stem sees more than 16 x 16 pixels, because on a
    CPU a depthwise convolution waits for memory; no dropout, because in the ten minutes it is made for, the network
    underfits.
    """
    features = [
        *conv_bn_relu(in_channels, 32, 3, stride=2),
        *conv_bn_relu(32, 64, 3),  # (64, 16, 16)
        separable_block((64, 128, 128), stride=2, relu_first=False),  # (128, 8, 8)
        separable_block((128, 128, 128, 128)),
        separable_block((128, 128, 256), stride=2),  # (256, 4, 4)
        *(*separable_conv_bn(256, 320), nn.ReLU(inplace=True)),
    ]
    return Xception(features, 320, num_classes, dropout=0.0)
