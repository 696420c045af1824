"""Networks that say which of the 20 classes a picture shows, and how far apart two sets of pictures are to them.

Two are used, from different data and seeds: the critic, which chooses the epoch that is kept, learned from validation
pictures; the judge, which nothing was chosen by, from training pictures.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import models
from experiments.data.images import Subset
from experiments.starters.pictures.data import CLASSES_A_SET, SETS, seen
from experiments.training.state import make_optimizer, schedule_factor

ARCHITECTURE = "lenet5"
FEATURES = "the 84 numbers before the last layer of the judge (a LeNet-5)"
BATCH, LEARNING_RATE, WEIGHT_DECAY, SHIFT = 128, 4e-3, 0.01, 2


class Look(NamedTuple):
    """What a classifier sees in some pictures: classes `(n,)`, features `(n, 84)`."""

    classes: torch.Tensor
    features: torch.Tensor


def train_classifier(data: Subset, epochs: int, seed: int) -> nn.Module:
    """A LeNet-5 that learned from pictures `(n, 1, 32, 32)` as `seen`, shifted by up to two pixels.

    The same seed and data give the same one; torch's random numbers are left as they were.
    """
    device = data.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = models.build(ARCHITECTURE, len(SETS) * CLASSES_A_SET, in_channels=1).to(device)
        optimizer = make_optimizer("adamw", network, LEARNING_RATE, WEIGHT_DECAY)
        batches = -(-len(data) // BATCH)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: schedule_factor("one_cycle", step, epochs * batches, 0.2)
        )
        pictures = torch.cat([seen(part).to(torch.bfloat16) for part in data.images.split(2000)])
        for _ in range(epochs):
            for index in torch.randperm(len(data)).to(device).split(BATCH):
                shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
                logits = network(pictures[index].float().roll(shift, (2, 3)))
                F.cross_entropy(logits, data.labels[index]).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return network.eval()


@torch.no_grad()
def look(network: nn.Module, pictures: torch.Tensor, batch: int = 1000) -> Look:
    """Classes and features of pictures `(n, 1, 32, 32)` as `seen` or `reduced`."""
    assert isinstance(network.classifier, nn.Sequential)
    classes, features = [], []
    for part in pictures.split(batch):
        hidden = network.classifier[:-1](network.features(part).flatten(1))  # pyright: ignore[reportCallIssue]
        classes.append(network.classifier[-1](hidden).argmax(dim=1))
        features.append(hidden)
    return Look(torch.cat(classes), torch.cat(features))


def look_at(network: nn.Module, images: torch.Tensor) -> Look:
    """The same for pictures of a data set, uint8 `(n, 1, 32, 32)`."""
    parts = [look(network, seen(part)) for part in images.split(2000)]
    return Look(torch.cat([part.classes for part in parts]), torch.cat([part.features for part in parts]))


def share(classes: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of answers that are right."""
    return float((classes == labels).float().mean())


def frechet_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Distance of two sets of features `(n, d)`, each taken for a normal distribution (Heusel et al. 2017, equation 6).

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).
    """
    first, second = one.double().cpu().numpy(), other.double().cpu().numpy()
    covariances = [np.cov(features, rowvar=False) for features in (first, second)]
    # The trace of the root of C1 C2 is that of the root of R C2 R, with R the root of C1, which is symmetric.
    root = _root(covariances[0])
    product = np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0)
    apart = first.mean(axis=0) - second.mean(axis=0)
    return float(apart @ apart + sum(np.trace(c) for c in covariances) - 2 * np.sqrt(product).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
