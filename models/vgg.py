"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.

`vgg11`, `vgg13`, `vgg16` and `vgg19` are columns A, B, D and E of table 1. They equal timm's networks (torchvision's)
with weights copied (VGG-16 has 138,357,544 parameters, with batch norm 138,365,992, for 1,000 classes); `_bn` puts
batch norm between each convolution and its ReLU, which the paper did not have.

The small stem keeps the convolutions, whose five poolings leave 1 x 1 of a 32 x 32 image, and has one linear layer of
512 inputs in place of the three (124 million of the parameters), with the paper's dropout of 0.5 before it (section
3.1): 14.7 million. `vgg_small` is for a CPU: see its docstring.

Initialization: He et al. 2015 for convolutions, Gaussian (0.01) for linear layers, biases 0. As torchvision, but over
the fan-in: over the fan-out the signal shrinks wherever channels double, and plain `vgg16` was still at chance on
CIFAR-10 after 60 steps, where this one was past 25 %. The paper's own (section 3.1) starts from a trained shallow net.
"""

from functools import partial

import torch
from torch import nn

from models.layers import conv_bn_relu, conv_pool_bn_relu, he_initialize

# Numbers of 3 x 3 convolutions in the five stages; all pool at the end.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Convolutions, then a classifier on the flattened maps; images `(b, channels, h, w)` to logits `(b, classes)`."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        he_initialize(self, mode="fan_in")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


def _stages(depth: int, in_channels: int, batch_norm: bool) -> nn.Sequential:
    """Table 1's convolutions; `(b, channels, h, w)` to `(b, 512, h / 32, w / 32)`."""
    layers: list[nn.Module] = []
    for convolutions, width in zip(STAGES[depth], WIDTHS, strict=True):
        for _ in range(convolutions):
            layers.append(nn.Conv2d(in_channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _classifier(num_classes: int, stem: str) -> nn.Sequential:
    """Maps `(b, 512, h, w)` to logits `(b, classes)`; pooling lets other image sizes than 224 and 32 through."""
    if stem == "small":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, num_classes))
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        nn.Linear(4096, num_classes),
    )


def _vgg(depth: int, batch_norm: bool, num_classes: int, in_channels: int, stem: str) -> nn.Module:
    return VGG(_stages(depth, in_channels, batch_norm), _classifier(num_classes, stem))


vgg11 = partial(_vgg, 11, False)
vgg13 = partial(_vgg, 13, False)
vgg16 = partial(_vgg, 16, False)
vgg19 = partial(_vgg, 19, False)
vgg11_bn = partial(_vgg, 11, True)
vgg13_bn = partial(_vgg, 13, True)
vgg16_bn = partial(_vgg, 16, True)
vgg19_bn = partial(_vgg, 19, True)


def vgg_small(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """VGG's plan (3 x 3 convolutions, more channels where there are fewer pixels) with batch norm, for a laptop.

    For 32 x 32 images; 1.09 million parameters. One convolution at full resolution, where it costs most and has least
    to say, and the widest after the last pooling, where capacity is cheapest. No dropout, because in the ten minutes it
    is made for, the network underfits.
    """
    features = nn.Sequential(
        *conv_pool_bn_relu(in_channels, 32),  # (32, 16, 16)
        *(*conv_bn_relu(32, 64, 3), *conv_pool_bn_relu(64, 64)),  # (64, 8, 8)
        *(*conv_bn_relu(64, 128, 3), *conv_pool_bn_relu(128, 256)),  # (256, 4, 4)
        *conv_bn_relu(256, 288, 3),
    )
    return VGG(features, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(288, num_classes)))
