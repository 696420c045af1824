"""Squeeze-and-excitation networks: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018.

Section references are to the longer version (Hu, Shen, Albanie, Sun and Wu, TPAMI 2019, arXiv 1709.01507v4).
`seresnet18`, `seresnet50` and `seresnet20` are the networks of `models.resnet` with a gate at the end of each residual
branch (section 3.3, figure 3), reduction 16 everywhere as in the paper; `senet154` is the network of the appendix.

Stride variant: as in `models.resnet`, a bottleneck has its stride on the 3 x 3 and max-pooling is padded, so that
ResNet and SE-ResNet differ in the gate and in nothing else. With weights copied, `seresnet50` and `senet154` equal
timm's networks of these names (28,088,024 and 115,088,984 parameters for 1,000 classes), and not `legacy_seresnet50`
and `legacy_senet154`, ports of the authors' Caffe networks that stride on the first 1 x 1 (SE-ResNet only) and pool
with ceil_mode (both). timm's `seresnet18` rounds the gate's width up to 8; ours has the paper's 64 / 16 = 4.

The small stem is that of `models.resnet`: stride 1 and no max-pooling, because 32 x 32 images have no resolution to
give away; `senet154` keeps its three 3 x 3 convolutions.

Initialization: as `models.resnet`; the gate's linear layers are PyTorch's default.
"""

import torch
from torch import nn

from models.layers import (
    ResidualNetwork,
    basic_branch,
    bottleneck_branch,
    conv_bn_relu,
    projection,
    residual_block,
    residual_stem,
)
from models.resnet import cifar_resnet, option_a


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from all channels' means; `(b, c, h, w)` to the same shape.

    Squeeze: equation 2. Excitation: equation 3, `sigmoid(W2 relu(W1 z))`, with biases as in the authors' networks.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.excitation = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.excitation(x.mean(dim=(2, 3)))
        return x * gate[:, :, None, None]


def se_basic_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SE-ResNet-18's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)`."""
    branch = [*basic_branch(in_channels, out_channels, stride), SqueezeExcitation(out_channels)]
    return residual_block(branch, projection(in_channels, out_channels, stride))


def se_bottleneck_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SE-ResNet-50's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)` (table 1)."""
    width = out_channels // 4
    branch = bottleneck_branch(in_channels, width, width, out_channels, stride)
    return residual_block([*branch, SqueezeExcitation(out_channels)], projection(in_channels, out_channels, stride))


def se_cifar_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SE-ResNet-20's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)`, with option A shortcuts."""
    branch = [*basic_branch(in_channels, out_channels, stride), SqueezeExcitation(out_channels)]
    return residual_block(branch, option_a(in_channels, out_channels, stride))


def senet154_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """SENet-154's block, `(b, in, h, w)` to `(b, out, h / stride, w / stride)`.

    A ResNeXt bottleneck of 64 groups of 4 channels; its first 1 x 1 has half the channels, to save computation, and a
    projection that changes the resolution is a 3 x 3, to keep information (appendix).
    """
    branch = bottleneck_branch(in_channels, out_channels // 2, out_channels, out_channels, stride, groups=64)
    shortcut = projection(in_channels, out_channels, stride, kernel_size=3 if stride > 1 else 1)
    return residual_block([*branch, SqueezeExcitation(out_channels)], shortcut)


def senet154_stem(in_channels: int, stem: str) -> list[nn.Module]:
    """Three 3 x 3 in place of one 7 x 7; `(b, channels, h, w)` to `(b, 128, h / 4, w / 4)`, small keeps h and w."""
    small = stem == "small"
    convolutions = [
        *conv_bn_relu(in_channels, 64, 3, stride=1 if small else 2),
        *conv_bn_relu(64, 64, 3),
        *conv_bn_relu(64, 128, 3),
    ]
    return convolutions if small else [*convolutions, nn.MaxPool2d(3, stride=2, padding=1)]


def seresnet18(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """SE-ResNet-18: ResNet-18 with gates."""
    stages = [(64, 2), (128, 2), (256, 2), (512, 2)]
    return ResidualNetwork(residual_stem(in_channels, stem), 64, se_basic_block, stages, num_classes)


def seresnet50(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """SE-ResNet-50 (table 1): ResNet-50 with gates."""
    stages = [(256, 3), (512, 4), (1024, 6), (2048, 3)]
    return ResidualNetwork(residual_stem(in_channels, stem), 64, se_bottleneck_block, stages, num_classes)


def senet154(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """SENet-154, core of the entry that won ILSVRC 2017; dropout 0.2 before the classifier, as in the appendix."""
    stages = [(256, 3), (512, 8), (1024, 36), (2048, 3)]
    return ResidualNetwork(senet154_stem(in_channels, stem), 128, senet154_block, stages, num_classes, dropout=0.2)


def seresnet20(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """SE-ResNet-20 for 32 x 32 images: ResNet-20 of the CIFAR section with gates."""
    return cifar_resnet(20, se_cifar_block, num_classes, in_channels)
