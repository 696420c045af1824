"""Residual networks: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

`resnet18`, `resnet34` and `resnet50` are the ImageNet networks (section 4.1, table 1, option B: a shortcut that changes
the shape is a 1 x 1 convolution). They equal torchvision's and timm's: 11,689,512 and 25,557,032 parameters for
ResNet-18 and -50 with 1,000 classes; the bottleneck has its stride on the 3 x 3 ("v1.5"), the paper on the first 1 x 1.
The small stem is 3 x 3 with stride 1 and no max-pooling, so that 32 x 32 images reach the last stage as 4 x 4 maps and
not as one pixel.

`resnet20` and `resnet56` are the paper's CIFAR networks (section 4.2): three stages of 16, 32 and 64 channels, identity
shortcuts throughout (option A: a shortcut that changes the shape skips every other pixel and pads new channels with
zeros), so that shortcuts have no parameters: 269,722 and 853,018 for color images and ten classes.

Initialization: He et al. 2015 (section 3.4), over the fan-out as in torchvision; the linear layer is PyTorch's default.
"""

import torch
import torch.nn.functional as F
from torch import nn

from models.layers import (
    Block,
    ResidualNetwork,
    basic_branch,
    bottleneck_branch,
    conv_bn_relu,
    projection,
    residual_block,
    residual_stem,
)


class OptionAShortcut(nn.Module):
    """Identity that skips every other pixel and appends zero channels: `(b, in, h, w)` to `(b, out, h / 2, w / 2)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(
            x[:, :, ::2, ::2], (0, 0, 0, 0, self.new_channels // 2, self.new_channels - self.new_channels // 2)
        )


def option_a(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Shortcut without parameters; `(b, in, h, w)` to `(b, out, h / stride, w / stride)`."""
    same_shape = stride == 1 and in_channels == out_channels
    return nn.Identity() if same_shape else OptionAShortcut(in_channels, out_channels)


def basic_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ResNet-18 and -34's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)` (figure 5, left)."""
    return residual_block(
        basic_branch(in_channels, out_channels, stride), projection(in_channels, out_channels, stride)
    )


def bottleneck_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ResNet-50's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)` (figure 5, right)."""
    width = out_channels // 4
    return residual_block(
        bottleneck_branch(in_channels, width, width, out_channels, stride),
        projection(in_channels, out_channels, stride),
    )


def cifar_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """ResNet-20 and -56's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)`."""
    return residual_block(basic_branch(in_channels, out_channels, stride), option_a(in_channels, out_channels, stride))


def cifar_resnet(depth: int, block: Block, num_classes: int, in_channels: int) -> ResidualNetwork:
    """The 6n + 2 layer network of section 4.2; images `(b, channels, 32, 32)` to logits `(b, classes)`."""
    blocks = (depth - 2) // 6
    stages = [(width, blocks) for width in (16, 32, 64)]
    return ResidualNetwork(conv_bn_relu(in_channels, 16, 3), 16, block, stages, num_classes)


def resnet18(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """ResNet-18 (table 1)."""
    stages = [(64, 2), (128, 2), (256, 2), (512, 2)]
    return ResidualNetwork(residual_stem(in_channels, stem), 64, basic_block, stages, num_classes)


def resnet34(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """ResNet-34 (table 1)."""
    stages = [(64, 3), (128, 4), (256, 6), (512, 3)]
    return ResidualNetwork(residual_stem(in_channels, stem), 64, basic_block, stages, num_classes)


def resnet50(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """ResNet-50 (table 1)."""
    stages = [(256, 3), (512, 4), (1024, 6), (2048, 3)]
    return ResidualNetwork(residual_stem(in_channels, stem), 64, bottleneck_block, stages, num_classes)


def resnet20(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """ResNet-20 for 32 x 32 images (section 4.2, n = 3)."""
    return cifar_resnet(20, cifar_block, num_classes, in_channels)


def resnet56(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """ResNet-56 for 32 x 32 images (section 4.2, n = 9)."""
    return cifar_resnet(56, cifar_block, num_classes, in_channels)
