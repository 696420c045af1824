"""About how long a training will take on this machine's CPU: a few steps of the network, timed. No Streamlit here."""

import time

STEPS = 3  # after a first one, which is slower
IMAGES = 16  # in a step, of 32 x 32; of larger ones as many pixels, but two at least
AROUND_S = 20.0  # loading libraries, figures, the registry


def seconds_per_image(model: str, classes: int, channels: int, size: int) -> float:
    """Seconds that a training step takes for an image. Raises ValueError for a size that the network does not take."""
    import torch

    import models

    count = max(2, IMAGES * 32**2 // size**2)
    network = models.build(model, classes, channels, models.stem_for(model, size)).train()
    images = torch.randn(count, channels, size, size)
    taken = []
    for _ in range(1 + STEPS):
        started = time.perf_counter()
        network(images).logsumexp(dim=1).sum().backward()
        taken.append(time.perf_counter() - started)
    return min(taken[1:]) / count


def training_seconds(per_image: float, training: int, validation: int, epochs: int) -> float:
    """Seconds of a whole training; an image that is only looked at takes a third of one that is learned from."""
    return AROUND_S + epochs * per_image * (training + validation / 3)
