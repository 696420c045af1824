"""Run by torchrun in a test: train as usual, and let every process save the weights that it ended with."""

import os
import sys

import safetensors.torch

from experiments import train_cnn
from experiments.training import run as training

if __name__ == "__main__":
    fit = training._fit

    def fit_and_save(prepared, tracker):
        fit(prepared, tracker)
        weights = {name: value.contiguous() for name, value in prepared.state.network.state_dict().items()}
        safetensors.torch.save_file(weights, f"rank-{os.environ['RANK']}.safetensors")

    training._fit = fit_and_save
    train_cnn.main(sys.argv[1:])
