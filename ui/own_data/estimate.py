"""About how long a training will take on this machine's CPU: a few steps of the network, timed. No Streamlit here."""

import time
from pathlib import Path
from typing import Any

from tasks.json_files import read_json

STEPS = 3  # after a first one, which is slower
IMAGES = 16  # in a step, of 32 x 32; of larger ones the same number of pixels, but at least two
TEXTS = 16  # in a step
TOKENS_A_WORD = 1.5
AROUND_S = 20.0  # loading libraries, figures, the registry
# What encoders call their sizes; DistilBERT has names of its own.
SIZES = (
    ("hidden_size", "dim"),
    ("num_attention_heads", "n_heads"),
    ("intermediate_size", "hidden_dim"),
    ("num_hidden_layers", "n_layers"),
)


def seconds_per_image(model: str, classes: int, channels: int, size: int) -> float:
    """Seconds that a training step takes for an image. Raises ValueError for a size that the network does not take."""
    import torch

    import models

    count = max(2, IMAGES * 32**2 // size**2)
    network = models.build(model, classes, channels, models.stem_for(model, size)).train()
    return _step(network, torch.randn(count, channels, size, size)) / count


def seconds_per_text(folder: Path, words: float) -> float | None:
    """Seconds that a fine-tuning step takes for a text of `words` words, by one layer of the encoder in a folder.

    None for a folder that says nothing of an encoder's sizes.
    """
    import torch

    try:
        config: dict[str, Any] = read_json(folder / "config.json")
        width, heads, inner, layers = (int(config.get(name) or config[other]) for name, other in SIZES)
        layer = torch.nn.TransformerEncoderLayer(width, heads, inner, activation="gelu", batch_first=True)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, AssertionError):
        return None
    return layers * _step(layer, torch.randn(TEXTS, max(1, round(words * TOKENS_A_WORD)), width)) / TEXTS


def _step(network: Any, inputs: Any) -> float:
    """Seconds of a step forward and backward."""
    taken = []
    for _ in range(1 + STEPS):
        started = time.perf_counter()
        network(inputs).logsumexp(dim=1).sum().backward()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def training_seconds(per_item: float, training: int, validation: int, epochs: int) -> float:
    """Seconds of a whole training; an item that is only looked at takes a third of one that is learned from."""
    return AROUND_S + epochs * per_item * (training + validation / 3)
