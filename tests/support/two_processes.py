"""Run by torchrun in a test: train as usual, and let every process save the weights that it ended with.

FAULT names what goes wrong in batch 3 of epoch 2, on rank 1 alone: its loss is `nan`, or it `raise`s.
"""

import os

import safetensors.torch

from experiments import train_cnn
from experiments.cnn import setup
from experiments.config import cli
from experiments.training import run as training

FAULT, RANK = os.environ.get("FAULT"), os.environ.get("RANK")
BATCHES_AN_EPOCH = 5


def faulty(step):
    """A step of rank 1 that goes wrong once."""
    calls = iter(range(1, 1_000_000))

    def step_or_fault(*arguments):
        result = step(*arguments)
        if next(calls) == BATCHES_AN_EPOCH + 3:
            if FAULT == "raise":
                raise ValueError("rank 1 is out of luck")
            return result._replace(loss=result.loss * float("nan"))
        return result

    return step_or_fault


if __name__ == "__main__":
    fit = training.run_epochs

    def fit_and_save(prepared, tracker):
        fit(prepared, tracker)
        weights = {name: value.contiguous() for name, value in prepared.state.network.state_dict().items()}
        safetensors.torch.save_file(weights, f"rank-{RANK}.safetensors")

    training.run_epochs = fit_and_save
    if FAULT and RANK == "1":
        setup.classification_step = faulty(setup.classification_step)
    cli.run(train_cnn.main)
