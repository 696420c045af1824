"""The family of convolutional networks, for the training program; `train_cnn` is the command line."""

from experiments.cnn.report import describe, save_model, test
from experiments.cnn.setup import CnnTraining, decide, prepare
from experiments.config import CnnConfig
from experiments.training import run as training
from experiments.training.family import Family, Result

CNN: Family[CnnConfig, CnnTraining] = Family("cnn", decide, prepare, test, save_model, describe)


def train(config: CnnConfig, given: frozenset[str] = frozenset(), parent: str | None = None) -> Result | None:
    """Train one convolutional network; see `experiments.training.run.train`."""
    return training.train(CNN, config, given, parent)
