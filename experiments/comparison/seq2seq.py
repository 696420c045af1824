"""Comparing encoder-decoders with different attention: what their runs leave behind, figures, accuracy by length."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from experiments.comparison import figures as plots
from experiments.comparison.kind import NOTES, FigureSpec, FinishedRun, Kind, Shape
from experiments.comparison.results import CellResult, Extra, Findings, interval, models_of
from experiments.config import FAMILIES, Seq2SeqConfig
from experiments.reports.page import Table
from experiments.reports.statistics import Interval
from experiments.seq2seq.figures import save_attention_maps, save_lengths
from experiments.seq2seq.report import ATTENTION, SEQ2SEQ

BY_LENGTH = re.compile(r"test_sequence_accuracy_len_(\d+)")


@dataclass(frozen=True, kw_only=True)
class ReverserResult(CellResult):
    """Of an encoder-decoder.

    Attributes:
        by_length: fraction of sequences of one length reversed without a mistake, by length; of `probe_size` sequences.
        attention: `(examples, steps, source)` over the longest validation sequences, None without attention.
        example: int64 `(examples, source)`, those sequences.
    """

    by_length: Mapping[int, float]
    probe_size: int
    attention: np.ndarray | None
    example: np.ndarray | None


class Seq2SeqKind(Kind):
    """Encoder-decoders on the reversal of sequences."""

    family = SEQ2SEQ
    names = FAMILIES["seq2seq"]
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
        "Every variant has the same budget of epochs and sequences and stops early only when it reverses all "
        "validation sequences. The best epoch by validation is kept; the test sequences were read once, for it.",
        "Sequence and token accuracy: free-running, by greedy decoding; a sequence counts as right if all of it and "
        "its end are. Loss: per token, with teacher forcing.",
        "Alignment: attention on the position that holds the symbol to be written, averaged over test symbols, with "
        "teacher forcing; the mean over several heads, for a Transformer in the last decoder layer. A low score need "
        "not mean a bad network: an encoder state also knows its neighbors, and heads may look elsewhere.",
        "Accuracy by length: new sequences of one length each, none of which was trained on.",
        *NOTES,
    )

    def default_models(self, device: str) -> str:  # noqa: ARG002  # the same everywhere
        return "attention,transformer"

    def read(self, run: FinishedRun, known: Mapping[str, Any]) -> ReverserResult:
        metrics = run.metrics
        with run.file("reports/test_predictions.npz") as path, np.load(path) as saved:
            sources, exact = saved["source"], saved["exact"]
        example = attention = None
        if "test_alignment" in metrics:
            with run.file(ATTENTION) as path, np.load(path) as saved:
                example, attention = saved["source"], saved["attention"]
        lengths = {int(match[1]): value for name, value in metrics.items() if (match := BY_LENGTH.fullmatch(name))}
        return ReverserResult(
            **known,
            answers=sources,
            right=exact,
            by_length=dict(sorted(lengths.items())),
            probe_size=int(run.params["probe_size"]),
            attention=attention,
            example=example,
        )

    def extra(self, cells: Sequence[ReverserResult]) -> Mapping[str, Extra]:
        return {"by_length": _length_table(by_length(cells))}

    def figures(self, findings: Findings, data: Shape, cells: Sequence[Any]) -> list[FigureSpec]:  # noqa: ARG002
        over = findings.over

        def curves(metric: str, caption: str, shown: Sequence[Any] = cells, **more: str) -> FigureSpec:
            title = f"{metric.replace('_', ' ')} on {over}"
            return FigureSpec(
                metric,
                caption,
                partial(plots.save_curves, cells=shown, metric=metric, title=title, items=self.items, **more),
            )

        lengths = partial(
            save_lengths,
            lengths=by_length(cells),
            trained=Seq2SeqConfig().max_length,
            title=f"accuracy by length on {over}",
        )
        drawn = [
            curves("sequence_accuracy", "Validation sequences reversed without a mistake, by epoch and by time"),
            curves(
                "loss",
                "Loss by epoch and by time, with the true tokens given",
                training="on the same kind of input",
            ),
            FigureSpec("lengths", "Accuracy by length; the dotted line is the longest length in training", lengths),
        ]
        if with_attention := [cell for cell in cells if cell.attention is not None]:
            same = "Attention of every variant over the same validation sequence, first seed"
            maps = partial(save_attention_maps, cells=with_attention)
            alignment = "Alignment score on validation sequences, by epoch and by time"
            drawn += [curves("alignment", alignment, with_attention), FigureSpec("attention", same, maps)]
        return drawn


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
