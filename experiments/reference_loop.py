"""The plain training loop that tutorials show, as the yardstick of `benchmark`: nothing here is used to train.

Images go one by one through torchvision's transforms (the same random shifts and flips as ours), a DataLoader stacks
them, the network runs in fp32 and contiguous memory, and the loss is read at every step.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from experiments.augmentation import Augmentation
from experiments.data import ImageData


class PictureDataset(Dataset):
    """The training images as pictures, transformed one at a time."""

    def __init__(self, data: ImageData, augmentation: Augmentation) -> None:
        pixels = data.train.images.permute(0, 2, 3, 1).cpu().numpy()
        self.pictures = [Image.fromarray(image.squeeze()) for image in pixels]
        self.labels = data.train.labels.tolist()
        steps: list = [transforms.RandomCrop(32, padding=augmentation.crop)] if augmentation.crop else []
        steps += [transforms.RandomHorizontalFlip()] if augmentation.flip else []
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image: Any = self.transform(self.pictures[index])
        return image, self.labels[index]


def reference_steps(
    network: nn.Module, dataset: PictureDataset, batch_size: int, workers: int, device: str
) -> Iterator[int]:
    """Train for ever, yielding the number of images of each step after it is done."""
    network = network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            loss.item()
            yield len(labels)
