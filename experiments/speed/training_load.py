"""A training that uses all cores, as a process: `python -m experiments.speed.training_load` prints a line a step.

ResNet-20 on random images of 32 x 32, batches of 64.
"""

import torch
import torch.nn.functional as F

import models


def main() -> None:
    """Train until the process is ended."""
    torch.manual_seed(0)
    network = models.build("resnet20", 10, 3).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    while True:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        print("step", flush=True)


if __name__ == "__main__":
    main()
