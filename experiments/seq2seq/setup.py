"""A sequence-to-sequence training made ready: configuration decided, sequences drawn, network and optimizer set up."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import ConfigError, Seq2SeqConfig
from experiments.data.sequences import (
    NAME,
    ReversalData,
    SequenceBatch,
    SequenceBatches,
    Sequences,
    make_sequences,
    probe_lengths,
)
from experiments.seq2seq.figures import save_attention
from experiments.seq2seq.recipes import resolve_seq2seq
from experiments.seq2seq.reversal import measure, reversal_step
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state
from models.seq2seq import SPECIALS, build
from tasks.sequence_reversal import ReverserConfig

TASK = "sequence-reversal"
# The epochs of which attention is drawn: the beginning densely, then every tenth.
DRAWN_EPOCHS = frozenset({1, 2, 3, 4, 5, 6, 8})
DRAWN_EVERY = 10
EXAMPLES = 3


@dataclass
class Seq2SeqTraining(Training):
    """One training of an encoder-decoder, ready to run on this process."""

    config: Seq2SeqConfig
    data: ReversalData

    selected_by: ClassVar[str] = "val_sequence_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "token_accuracy", "sequence_accuracy")
    divisible: ClassVar[bool] = True

    @property
    def identity(self) -> DataIdentity:
        # Drawn here and now, from nothing but the configuration: there is no file that could be another one.
        return DataIdentity(NAME, "generated", self.data.sha256, self.data.split_sha256, verified=True)

    @property
    def title(self) -> str:
        return f"{self.config.model} reversing up to {self.config.max_length}, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": TASK, "model": self.config.model, "dataset": NAME}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        config, data = self.config, self.data
        return (
            f"{config.model} ({parameters:,} parameters) on sequences of {config.min_length} to {config.max_length} of "
            f"{config.vocab_size} symbols: {len(data.train):,} training, {len(data.val):,} validation, "
            f"{len(data.test):,} test"
        )

    def step(self, model: nn.Module, batch: SequenceBatch) -> StepResult:
        return reversal_step(model, batch)

    def evaluate(self, network: nn.Module) -> Metrics:
        return measure(network, self.data.val, self.state.accelerator).metrics

    def solved(self, metrics: Metrics) -> bool:
        return 0 < self.config.stop_at <= metrics["val_sequence_accuracy"]

    def snapshot(self, epoch: int, folder: Path) -> None:
        """Draw what the network attends to in the longest validation sequences, in chosen epochs."""
        if epoch in DRAWN_EPOCHS or epoch % DRAWN_EVERY == 0:
            accuracy = self.state.history[-1]["val_sequence_accuracy"]
            title = f"{self.config.model}, epoch {epoch}: {accuracy:.1%} of validation sequences reversed"
            self.draw_attention(self.state.evaluated, folder / f"attention_epoch_{epoch:04d}.png", title)

    def draw_attention(self, network: nn.Module, path: Path, title: str) -> None:
        """A figure of the attention over the longest validation sequences; none for a network without attention."""
        pairs, attention = self.look(network)
        if attention is not None:
            save_attention(path, pairs, attention, title)

    def look(self, network: nn.Module) -> tuple[Sequences, np.ndarray | None]:
        """The longest validation sequences, and the attention `(n, steps, source)` under teacher forcing, if any."""
        pairs = self.data.val.part(self.data.val.lengths.argsort(descending=True, stable=True)[:EXAMPLES])
        network.eval()
        with torch.inference_mode(), self.state.accelerator.autocast():
            attention = network(pairs.source, pairs.lengths, pairs.inputs).attention
        return pairs, None if attention is None else attention.float().cpu().numpy()

    @property
    def network_config(self) -> ReverserConfig:
        """What is needed to build the network again."""
        config = self.config
        names = ("cell", "attention", "positions", "vocab_size", "max_length", "hidden_size", "layers")
        return ReverserConfig(**{name: getattr(config, name) for name in names}, longest=_longest(config))


def _longest(config: Seq2SeqConfig) -> int:
    return max(probe_lengths(config.max_length))


def decide(config: Seq2SeqConfig) -> Seq2SeqConfig:
    """The configuration with every `auto` decided but those that `training.autotune` settles."""
    config = devices.placed(config)
    if config.cell == "lstm" and (config.device, config.precision) == ("cpu", "bf16") and not devices.cpu_runs_bf16():
        raise ConfigError("precision is 'bf16', which this CPU has no LSTM for; valid here: auto, fp32")
    return resolve_seq2seq(config)


def prepare(config: Seq2SeqConfig, accelerator: Accelerator) -> Seq2SeqTraining:
    """Draw the sequences and set up network, optimizer and batches. Raises ConfigError for what does not fit."""
    data = make_sequences(
        config.vocab_size,
        config.min_length,
        config.max_length,
        sizes=(config.train_size, config.val_size, config.test_size),
        probe_size=config.probe_size,
        seed=config.split_seed,
        device=accelerator.device,
    )
    if not accelerator.num_processes <= config.batch_size <= config.train_size:
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {config.train_size}, which is "
            "train_size"
        )
    batches = SequenceBatches(
        data.train,
        config.batch_size,
        seed=config.seed,
        epochs=config.epochs,
        teacher_forcing=config.teacher_forcing,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    torch.manual_seed(config.seed)
    try:
        network = build(
            config.cell,
            config.attention,
            config.positions,
            config.vocab_size + SPECIALS,
            config.hidden_size,
            max_length=_longest(config) + 2,
            dropout=config.dropout,
            layers=config.layers,
        )
    except ValueError as error:  # sizes that do not divide
        raise ConfigError(str(error)) from error
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config, accelerator.num_processes)
    return Seq2SeqTraining(config, batches, state, environment, data)
