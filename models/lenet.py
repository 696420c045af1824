"""LeNet-5: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998, II.B.

Kept from the paper: the 32 x 32 input, the sizes of all layers (6, 16, 120, 84) and the 5 x 5 kernels. Changed, as
almost everybody does since: C3 sees all six maps of S2 (61,706 parameters for gray images and ten classes; the paper's
hand-made partial connections have 60,000), subsampling is max-pooling without weights, the nonlinearity is ReLU, and
the output layer is linear with softmax instead of radial basis functions.
"""

import torch
from torch import nn


class LeNet5(nn.Module):
    """Images `(batch, channels, 32, 32)` to logits `(batch, classes)`."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # ReLU after pooling gives what pooling after ReLU does, with a quarter of the work.
            nn.Conv2d(in_channels, 6, kernel_size=5),  # C1: (6, 28, 28)
            nn.MaxPool2d(2),  # S2: (6, 14, 14)
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 16, kernel_size=5),  # C3: (16, 10, 10)
            nn.MaxPool2d(2),  # S4: (16, 5, 5)
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),  # C5, a convolution that covers its whole input
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),  # F6
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).flatten(1))


def lenet5(num_classes: int, in_channels: int, _stem: str) -> nn.Module:
    """LeNet-5 for 32 x 32 images, the paper's own size."""
    return LeNet5(num_classes, in_channels)
