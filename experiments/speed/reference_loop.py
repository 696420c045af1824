"""The plain training loop that tutorials show, as the yardstick of `benchmark`: no training of the project uses it.

Images go one by one through torchvision's transforms (random shifts and flips), a DataLoader stacks them, the network
runs in fp32 and contiguous memory, and the loss is read at every step.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from experiments.data.images import ImageData


class PictureDataset(Dataset):
    """The training images as pictures, shifted by up to `crop` pixels and mirrored one at a time."""

    def __init__(self, data: ImageData, crop: int, flip: bool) -> None:
        pixels = data.train.take(slice(None)).permute(0, 2, 3, 1).cpu().numpy()
        self.pictures = [Image.fromarray(image.squeeze()) for image in pixels]
        self.labels = data.train.labels.tolist()
        steps: list = [transforms.RandomCrop(pixels.shape[1], padding=crop)] if crop else []
        steps += [transforms.RandomHorizontalFlip()] if flip else []
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image: Any = self.transform(self.pictures[index])
        return image, self.labels[index]


def reference_loader(dataset: PictureDataset, batch_size: int, workers: int) -> DataLoader:
    """Shuffled batches, made in this process (0 workers) or in others."""
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )


def reference_loop(
    network: nn.Module, device: str, optimizer: torch.optim.Optimizer
) -> Callable[[Iterable[Any]], None]:
    """A function that trains `network`, on `device`, on every batch it is given: (images, labels) on the CPU."""

    def train(batches: Iterable[Any]) -> None:
        network.train()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            loss.item()

    return train
