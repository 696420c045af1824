"""The numbers of a comparison: what trainings left behind, intervals, paired tests, leaderboard. Pure functions."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.reports.page import Table
from experiments.reports.statistics import Interval, Pair, adjust, mcnemar, t_interval, wilson_interval
from experiments.reports.text import differences, listed, ranking
from tasks.metrics import record

LOSS_RISE = 1.2  # over-fitting is worth a sentence from here on: validation loss at the end over its lowest


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What one finished training left behind.

    Attributes:
        test: metrics of the kept epoch on the test data.
        history: an array a metric, one value an epoch.
        parameters: of the network.
        examples: training examples seen, an example as often as it was.
        answers: what identifies the test items, to tell whether two trainings had the same; first axis: items.
        right: whether each test item was answered rightly, bool `(n,)`.
    """

    model: str
    dataset: str
    seed: int
    run_id: str
    test: Mapping[str, float]
    history: Mapping[str, np.ndarray]
    best_epoch: int
    parameters: int
    examples: int
    answers: np.ndarray
    right: np.ndarray

    def value(self, metric: str) -> float:
        """A metric of the leaderboard; NaN for one that this training does not have."""
        if metric == "seconds":
            return float(self.history["epoch_seconds"].sum())
        if metric == "examples_per_second":
            return float(np.median(self.history["examples_per_second"]))
        return self.test.get(f"test_{metric}", math.nan)


@dataclass(frozen=True, kw_only=True)
class ClassifierResult(CellResult):
    """Of a classifier, whose `answers` are the labels; `predicted` is int64 `(n,)` as well."""

    predicted: np.ndarray


@dataclass(frozen=True)
class NetworkRow:
    """A line of the leaderboard: one model on one data set, over its seeds.

    `examples` are those that a training saw, the mean over seeds; `flops` is None where not counted.
    """

    model: str
    dataset: str
    seeds: tuple[int, ...]
    values: Mapping[str, Interval]
    examples: int
    parameters: int
    flops: int | None = None


class Extra(NamedTuple):
    """A table of its own: for the page, and its rows as they go to a CSV file."""

    page: Table
    rows: Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Findings:
    """What there is to say about one data set.

    Attributes:
        items: what its examples are called.
        metrics: the columns of the leaderboard, the deciding one first.
        rows: the leaderboard.
        analysis: paragraphs.
        extra: more tables, by the names of their CSV files.
    """

    dataset: str
    items: str
    metrics: tuple[str, ...]
    rows: Sequence[NetworkRow]
    pairs: Sequence[Pair]
    analysis: tuple[str, ...]
    extra: Mapping[str, Extra] = field(default_factory=dict)

    @property
    def over(self) -> str:
        """Such as `digits, 2 seeds`."""
        seeds = max(len(row.seeds) for row in self.rows)
        return f"{self.dataset}, {seeds} seed{'s' if seeds > 1 else ''}"


def shown(metric: str, value: float) -> str:
    """A metric with the digits that matter."""
    return "–" if math.isnan(value) else f"{value:,.{record(metric).digits}f}"


def models_of(cells: Sequence[CellResult]) -> list[str]:
    """The models of some trainings, in order."""
    return list(dict.fromkeys(cell.model for cell in cells))


def find(
    cells: Sequence[CellResult],
    metrics: tuple[str, ...],
    items: str,
    flops: Mapping[str, int | None],
    extra: Mapping[str, Extra] | None = None,
) -> Findings:
    """Numbers and sentences about one data set; `items` is what its examples are called."""
    rows, pairs, metric = leaderboard(cells, metrics, flops), paired_tests(cells), metrics[0]
    values = {row.model: row.values[metric] for row in rows}
    alone = " (one training each)" if len({pair.seed for pair in pairs}) == 1 else ""
    paragraphs = (
        ranking(f"mean test {metric.replace('_', ' ')}", values, partial(shown, metric)),
        differences(pairs, f"test {items}{alone}"),
        _missing_seeds(rows),
        _over_fitting(cells),
    )
    return Findings(cells[0].dataset, items, metrics, rows, pairs, tuple(filter(None, paragraphs)), extra or {})


def _missing_seeds(rows: Sequence[NetworkRow]) -> str:
    every = sorted({seed for row in rows for seed in row.seeds})
    lacking = [f"{row.model} has {listed([*map(str, row.seeds)])}" for row in rows if len(row.seeds) < len(every)]
    return f"Not every model has all {len(every)} seeds: {'; '.join(lacking)}." if lacking else ""


def _over_fitting(cells: Sequence[CellResult]) -> str:
    found = []
    for model in models_of(cells):
        losses = [cell.history["val_loss"] for cell in cells if cell.model == model]
        shortest = min(map(len, losses))
        loss = np.mean([one[:shortest] for one in losses], axis=0)
        if loss[-1] > LOSS_RISE * loss.min():
            found.append(f"{model} (from {loss.min():.3f} in epoch {loss.argmin() + 1} to {loss[-1]:.3f})")
    return f"Signs of over-fitting: validation loss rises again with {listed(found)}." if found else ""


def interval(metric: str, values: Sequence[float], test_size: int) -> Interval:
    """The interval of a metric: over seeds; for an accuracy that seeds say nothing of, over test items."""
    found = t_interval(values)
    if not found.known:
        return wilson_interval(found.mean, test_size) if record(metric).counts_items else found
    high = min(1.0, found.high) if record(metric).fraction else found.high
    return Interval(found.mean, max(0.0, found.low), high, found.method)


def paired_tests(cells: Sequence[CellResult]) -> list[Pair]:
    """McNemar's test for every two models of one data set, with each seed that both have, on the same test items.

    The p-values of a seed are adjusted for its number of pairs.
    """
    found, order = [], models_of(cells)
    for seed in sorted({cell.seed for cell in cells}):
        mine = sorted((cell for cell in cells if cell.seed == seed), key=lambda cell: order.index(cell.model))
        tests = []
        for a, b in itertools.combinations(mine, 2):
            if np.array_equal(a.answers, b.answers):
                only_a, only_b, p = mcnemar(a.right, b.right)
                tests.append(Pair(a.model, b.model, only_a, only_b, p, only_a > only_b, seed=seed))
        found += adjust(tests)
    return found


def leaderboard(
    cells: Sequence[CellResult], metrics: Sequence[str], flops: Mapping[str, int | None]
) -> list[NetworkRow]:
    """One row a model, by the mean of the first of `metrics`. All cells are of one data set."""
    rows = []
    for model in models_of(cells):
        mine = sorted((cell for cell in cells if cell.model == model), key=lambda cell: cell.seed)
        first, seeds = mine[0], tuple(cell.seed for cell in mine)
        size = len(first.right)
        values = {metric: interval(metric, [cell.value(metric) for cell in mine], size) for metric in metrics}
        examples = round(statistics.mean(cell.examples for cell in mine))
        rows.append(NetworkRow(model, first.dataset, seeds, values, examples, first.parameters, flops[model]))
    return sorted(rows, key=lambda row: -row.values[metrics[0]].mean)
