"""Comparing encoder-decoders with different attention: how they are trained, timed and reported."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.comparison import figures as plots
from experiments.comparison import seq2seq_figures
from experiments.comparison.kind import NOTES, Cell, DataShape, Kind
from experiments.comparison.results import CellResult, Extra, Findings, interval, models_of
from experiments.config import (
    SEQ2SEQ_DATASETS,
    SEQ2SEQ_GROUPS,
    SEQ2SEQ_MODELS,
    CompareConfig,
    ConfigError,
    Seq2SeqConfig,
)
from experiments.reports.page import Figures, Table
from experiments.reports.statistics import Interval
from experiments.seq2seq.recipes import resolve_seq2seq
from experiments.seq2seq.report import ATTENTION
from experiments.seq2seq.setup import decide, prepare
from experiments.seq2seq.training import train
from experiments.training import devices
from experiments.training.family import Result
from models.seq2seq import SPECIALS, build
from tasks.runs import artifact_file, open_store

BY_LENGTH = re.compile(r"test_sequence_accuracy_len_(\d+)")
STEPS = 4


@dataclass(frozen=True)
class ReverserResult(CellResult):
    """Of an encoder-decoder.

    Attributes:
        sources: int64 `(n, longest)`, the test sequences.
        exact: bool `(n,)`, which of them were reversed without a mistake.
        by_length: share of sequences of one length reversed without a mistake, by length; of `probe_size` sequences.
        attention: `(examples, steps, source)` over the longest validation sequences, None without attention.
        example: int64 `(examples, source)`, those sequences.
    """

    sources: np.ndarray
    exact: np.ndarray
    by_length: Mapping[int, float]
    probe_size: int
    attention: np.ndarray | None
    example: np.ndarray | None

    @property
    def answers(self) -> np.ndarray:
        return self.sources

    @property
    def right(self) -> np.ndarray:
        return self.exact


class Seq2SeqKind(Kind):
    """Encoder-decoders on the reversal of sequences."""

    models = SEQ2SEQ_MODELS
    groups = SEQ2SEQ_GROUPS
    datasets = SEQ2SEQ_DATASETS
    default_dataset = "reversal"
    metric = "sequence_accuracy"
    history = (
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "val_token_accuracy",
        "val_sequence_accuracy",
        "val_alignment",
        "epoch_seconds",
        "examples_per_second",
    )
    metrics = ("sequence_accuracy", "token_accuracy", "loss", "alignment", "seconds", "examples_per_second")
    items = "sequences"
    notes = (
        "Every variant has the same budget of epochs and sequences and ends early only when it reverses all validation "
        "sequences. The epoch kept is the best by validation; the test sequences were read once, for it.",
        "Sequence and token accuracy: the network runs on its own (greedy decoding); a sequence counts when all of it "
        "and its end are right. Loss: by token, with the true tokens given.",
        "Alignment: attention on the position that holds the symbol to be written, averaged over test symbols, with "
        "the true tokens given; of several heads the mean, of a Transformer the last layer of the decoder. A low "
        "score need not mean a bad network: an encoder state also knows its neighbors, and heads may look elsewhere.",
        "Accuracy by length: fresh sequences of one length each, none of which was trained on.",
        *NOTES,
    )

    def default_models(self, device: str) -> str:  # noqa: ARG002  # the same everywhere
        return "attention,transformer"

    def title(self, models: Sequence[str], datasets: Sequence[str], seeds: int) -> str:  # noqa: ARG002
        names = models[0] if len(models) == 1 else f"{len(models)} variants"
        return f"{names} reversing sequences, {seeds} seed{'s' if seeds > 1 else ''}"

    def shape(self, dataset: str, config: CompareConfig) -> DataShape:  # noqa: ARG002  # there is one
        found = Seq2SeqConfig(train_size=config.train_size or Seq2SeqConfig().train_size)
        return DataShape(found.train_size, found.val_size, found.test_size)

    def cell_config(self, config: CompareConfig, cell: Cell) -> Seq2SeqConfig:
        kind, variant = cell.model.split("-", 1)
        chosen = {"positions": variant} if kind == "transformer" else {"attention": variant}
        shared = {name: getattr(config, name) for name in ("epochs", "device", "precision", "threads", "register")}
        if config.train_size:
            shared["train_size"] = config.train_size
        return resolve_seq2seq(Seq2SeqConfig(cell=kind, seed=cell.seed, **chosen, **shared))

    def check(self, config: Seq2SeqConfig, data: DataShape) -> None:
        if config.batch_size > data.train:
            raise ConfigError(
                f"train_size is {data.train}; valid: at least {config.batch_size}, the batch size of {config.model}"
            )

    def seconds_per_example(self, cell: Cell, data: DataShape, config: CompareConfig) -> float:  # noqa: ARG002
        decided = decide(self.cell_config(config, cell))
        few = 2 * decided.batch_size
        small = decided.replace(train_size=few, val_size=1, test_size=1, probe_size=1)
        training = prepare(small, devices.make_accelerator(decided.device, decided.precision))
        training.state.model.train()
        times: list[float] = []
        for number in range(1, STEPS):
            started = time.perf_counter()
            for batch in training.batches.epoch(number):
                with training.state.accelerator.autocast():
                    result = training.step(training.state.model, batch)
                training.state.accelerator.backward(result.loss / result.total)
                training.state.optimizer.step()
                training.state.optimizer.zero_grad()
            times.append((time.perf_counter() - started) / few)
        return min(times)  # what else the machine did in between is not the network's fault

    def train(self, config: Seq2SeqConfig, given: frozenset[str], parent: str) -> Result | None:
        return train(config, given, parent)

    def read(self, cell: Cell, run: Any, history: Mapping[str, np.ndarray]) -> ReverserResult:
        client, metrics = open_store(), run.data.metrics
        with artifact_file(client, run, "reports/test_predictions.npz") as path, np.load(path) as saved:
            sources, exact = saved["source"], saved["exact"]
        example = attention = None
        if "test_alignment" in metrics:
            with artifact_file(client, run, ATTENTION) as path, np.load(path) as saved:
                example, attention = saved["source"], saved["attention"]
        by_length = {int(match[1]): value for name, value in metrics.items() if (match := BY_LENGTH.fullmatch(name))}
        test = {key: value for key, value in metrics.items() if key.startswith("test_")}
        probe_size, curve = int(run.data.params["probe_size"]), dict(sorted(by_length.items()))
        best, run_id = int(run.data.tags["best_epoch"]), run.info.run_id
        found = (sources, exact, curve, probe_size, attention, example)
        return ReverserResult(*cell, run_id, test, history, best, *found)

    def costs(self, model: str, data: DataShape) -> tuple[int, None]:  # noqa: ARG002  # the same for all data
        config = self.cell_config(CompareConfig(kind="seq2seq"), Cell(model, "reversal", 0))
        with torch.device("meta"):
            network = build(
                config.cell,
                config.attention,
                config.positions,
                config.vocab_size + SPECIALS,
                config.hidden_size,
                max_length=5 * config.max_length + 2,
                layers=config.layers,
            )
        return sum(parameter.numel() for parameter in network.parameters()), None

    def extra(self, cells: Sequence[ReverserResult]) -> Mapping[str, Extra]:
        return {"by_length": _length_table(by_length(cells))}

    def draw(self, folder: Path, findings: Findings, data: DataShape, cells: Sequence[Any]) -> Figures:  # noqa: ARG002
        names, over, trained = models_of(cells), findings.over, Seq2SeqConfig().max_length
        with_attention = [cell for cell in cells if cell.attention is not None]
        captions = {
            "sequence_accuracy": "Validation sequences reversed without a mistake, by epoch and by time",
            "loss": "Loss by epoch and by time, with the true tokens given",
            "lengths": "Accuracy by length; the dotted line is the longest length in training",
            "metrics": "Test metrics",
            "cost": "Accuracy against cost: up and left is better",
        }
        if with_attention:
            captions["alignment"] = "Alignment score on validation sequences, by epoch and by time"
            captions["attention"] = "Attention of every variant over the same validation sequence, first seed"
        file = {kind: folder / f"{findings.dataset}_{kind}.png" for kind in captions}
        plots.save_curves(file["sequence_accuracy"], cells, "sequence_accuracy", f"sequence accuracy on {over}")
        plots.save_curves(file["loss"], cells, "loss", f"loss on {over}", "on the same kind of input")
        plots.save_bars(file["metrics"], findings, names)
        plots.save_costs(file["cost"], findings, names)
        seq2seq_figures.save_lengths(file["lengths"], by_length(cells), names, trained, f"accuracy by length on {over}")
        if with_attention:
            plots.save_curves(file["alignment"], with_attention, "alignment", f"alignment score on {over}")
            seq2seq_figures.save_attention_maps(file["attention"], with_attention, SPECIALS)
        return [(caption, file[kind]) for kind, caption in captions.items()]


def by_length(cells: Sequence[ReverserResult]) -> dict[str, dict[int, Interval]]:
    """Accuracy at each length, mean over seeds with its interval, by variant and length."""
    found: dict[str, dict[int, Interval]] = {}
    for model in models_of(cells):
        mine = [cell for cell in cells if cell.model == model]
        found[model] = {
            length: interval("sequence_accuracy", [cell.by_length[length] for cell in mine], mine[0].probe_size)
            for length in mine[0].by_length
        }
    return found


def _length_table(lengths: Mapping[str, Mapping[int, Interval]]) -> Extra:
    rows = [
        {"model": model, "length": length, "accuracy": value.mean, "low": value.low, "high": value.high}
        for model, values in lengths.items()
        for length, value in values.items()
    ]
    head = ["variant", *map(str, next(iter(lengths.values())))]
    cells = [[model, *(f"{value.mean:.1%}" for value in values.values())] for model, values in lengths.items()]
    return Extra(Table(head, cells, "Sequences reversed without a mistake by length, mean over seeds"), rows)
