"""The family of encoder-decoders, for the training program; `train_seq2seq` is the command line."""

from experiments.config import Seq2SeqConfig
from experiments.seq2seq.report import describe, save_model, test
from experiments.seq2seq.setup import Seq2SeqTraining, decide, prepare
from experiments.training import run as training
from experiments.training.family import Family, Result

SEQ2SEQ: Family[Seq2SeqConfig, Seq2SeqTraining] = Family("seq2seq", decide, prepare, test, save_model, describe)


def train(config: Seq2SeqConfig, given: frozenset[str] = frozenset(), parent: str | None = None) -> Result | None:
    """Train one encoder-decoder; see `experiments.training.run.train`."""
    return training.train(SEQ2SEQ, config, given, parent)
