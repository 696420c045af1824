"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.

`alexnet` is the single-column version of Krizhevsky, "One Weird Trick for Parallelizing Convolutional Neural Networks",
2014 (arXiv 1404.5997), which torchvision has and which ours equals with weights copied: 61,100,840 parameters for 1,000
classes. It has no groups and no local response normalization; dropout 0.5 before the first two linear layers (section
4.2 of the 2012 paper) is kept.

The small stem takes 32 x 32 images: a first 3 x 3 convolution with stride 2 (for 11 x 11 with stride 4, which would see
little but padding), a second one of 3 x 3, and 2 x 2 pooling, so that 2 x 2 pixels reach the two layers of 4,096:
23.3 million parameters, nearly all of them there. `alexnet_small` is for a CPU: see its docstring.

Initialization: He et al. 2015 for convolutions, PyTorch's default for linear layers. Not the papers' (Gaussian, 0.01),
nor torchvision's (PyTorch's default throughout): with that one the small stem was still at chance on CIFAR-10 after
120 steps, where this one was past 33 %.
"""

import torch
from torch import nn

from models.layers import conv_bn_relu, conv_pool_bn_relu, he_initialize


class AlexNet(nn.Module):
    """Five convolutions, three linear layers; images `(batch, channels, h, w)` to logits `(batch, classes)`."""

    def __init__(self, features: nn.Module, maps: int, hidden: int, num_classes: int, dropout: float) -> None:
        """Maps is the length of the flattened `features(images)`, hidden the width of the first two linear layers."""
        super().__init__()
        self.features = features
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(maps, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )
        he_initialize(self, mode="fan_in")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).flatten(1))


def _imagenet_features(in_channels: int) -> nn.Sequential:
    """`(b, channels, 224, 224)` to `(b, 256, 6, 6)`; the last pooling lets other sizes through, and 224 unchanged."""
    return nn.Sequential(
        *(nn.Conv2d(in_channels, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2)),
        nn.AdaptiveAvgPool2d(6),
    )


def _small_features(in_channels: int) -> nn.Sequential:
    """`(b, channels, 32, 32)` to `(b, 256, 2, 2)`."""
    return nn.Sequential(
        *(nn.Conv2d(in_channels, 64, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    )


def alexnet(num_classes: int, in_channels: int, stem: str) -> nn.Module:
    """AlexNet as in "one weird trick", or its adaptation to 32 x 32 images."""
    if stem == "small":
        return AlexNet(_small_features(in_channels), 256 * 2 * 2, 4096, num_classes, dropout=0.5)
    return AlexNet(_imagenet_features(in_channels), 256 * 6 * 6, 4096, num_classes, dropout=0.5)


def alexnet_small(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """AlexNet's plan (five convolutions, pooling after the first, second and fifth, three linear layers) for a laptop.

    For 32 x 32 images; 0.67 million parameters. Batch norm, which the paper did not have yet, and dropout of 0.2 in
    place of 0.5, because in the ten minutes it is made for, the network underfits rather than overfits.
    """
    features = nn.Sequential(
        *conv_pool_bn_relu(in_channels, 32),  # (32, 16, 16)
        *conv_pool_bn_relu(32, 64),  # (64, 8, 8)
        *conv_bn_relu(64, 128, 3),
        *conv_bn_relu(128, 128, 3),
        *conv_pool_bn_relu(128, 128),  # (128, 4, 4)
    )
    return AlexNet(features, 128 * 4 * 4, 128, num_classes, dropout=0.2)
