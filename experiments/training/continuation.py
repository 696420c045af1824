"""What a continuation of a training may change, and its state put back, whoever kept it."""

import sys
from typing import Any

from experiments.config import IMAGE_SIZE, RANDOM, ConfigError, TrainConfig
from experiments.tracking.checkpoint import Checkpoint
from experiments.training.state import TrainState
from tasks.base import first_line

# Settled by a trial unless they are given, with the value that leaves them open.
OPEN = {"precision": "auto", "memory_format": "auto", "threads": 0}
RESUMING = "resuming after epoch"
# May differ between a run and its continuation; every other field decides what is trained.
FREE_TO_CHANGE = {"device", "data_dir", "data", "resume", "register", "champion", *OPEN}

# Fields that came later: with these values a training is what it was before.
CAME_LATER = {
    "image_size": IMAGE_SIZE,
    "weights": RANDOM,
    "freeze_epochs": 0,
    "trunk_learning_rate": 1.0,
    "small_size": 0,
    "small_epochs": 0,
}


def deciding(config: TrainConfig) -> dict[str, Any]:
    """The fields that decide what is trained, the same as before they came for those that came later."""
    values = config.model_dump().items()
    return {name: value for name, value in values if name not in FREE_TO_CHANGE and CAME_LATER.get(name) != value}


def restore(state: TrainState, checkpoint: Checkpoint, here: dict[str, Any]) -> None:
    """Put `state` where the checkpoint was, saying so, and saying if the continuation will not be bit-exact.

    Raises ConfigError if the checkpoint is of another network.
    """
    try:
        there = dict(checkpoint.values["environment"])
        state.restore(checkpoint.tensors, checkpoint.values)
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        text = f"the checkpoint of epoch {checkpoint.epoch} is of another network: {first_line(error)}"
        raise ConfigError(text) from error
    differences = [
        f"{key} {there.get(key)} -> {value}" for key, value in here.items() if there.get(key, value) != value
    ]
    if differences:
        print(f"warning: not bit-exact with an uninterrupted run: {', '.join(differences)}", file=sys.stderr)
    if state.accelerator.is_main_process:
        print(f"{RESUMING} {checkpoint.epoch}")
