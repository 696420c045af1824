"""The numbers of a comparison: intervals, calibration, paired tests, leaderboard. Pure functions on plain values."""

import dataclasses
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.cnn.classification import calibration_error

LEVEL = 0.95
# Where less is better; for everything else more is.
LOWER_IS_BETTER = {"loss", "ece", "seconds", "parameters", "flops"}
# Shares of right test items, for which the items tell how far chance may have moved them.
ACCURACIES = {"accuracy", "sequence_accuracy"}
SHARES = {*ACCURACIES, "precision", "recall", "f1", "ece", "token_accuracy", "alignment"}


@dataclass(frozen=True)
class CellResult(ABC):
    """What one finished training left behind.

    `history` holds an array a metric, one value an epoch; `test` the metrics of the kept epoch on the test data.
    """

    model: str
    dataset: str
    seed: int
    run_id: str
    test: Mapping[str, float]
    history: Mapping[str, np.ndarray]
    best_epoch: int

    @property
    @abstractmethod
    def answers(self) -> np.ndarray:
        """What identifies the test items, to tell whether two trainings had the same; first axis: items."""

    @property
    @abstractmethod
    def right(self) -> np.ndarray:
        """Whether each test item was answered rightly, bool `(n,)`."""

    def value(self, metric: str) -> float:
        """A metric of the leaderboard; NaN for one that this training does not have."""
        if metric == "seconds":
            return float(self.history["epoch_seconds"].sum())
        if metric == "examples_per_second":
            return float(np.median(self.history["examples_per_second"]))
        return self.test.get(f"test_{metric}", math.nan)


@dataclass(frozen=True)
class ClassifierResult(CellResult):
    """Of a classifier: `labels` is int64 `(n,)`, `probabilities` float32 `(n, classes)`."""

    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @property
    def answers(self) -> np.ndarray:
        return self.labels

    @property
    def right(self) -> np.ndarray:
        return self.predicted == self.labels

    def value(self, metric: str) -> float:
        if metric == "ece":
            return calibration_error(self.labels, self.probabilities)
        return super().value(metric)


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie; `low` and `high` are NaN where nothing says how far it may be off."""

    mean: float
    low: float = math.nan
    high: float = math.nan
    method: str = "none"

    @property
    def known(self) -> bool:
        return not math.isnan(self.low)

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two cannot be told apart; so it is when an interval is not known."""
        return not (self.known and other.known) or (self.low <= other.high and other.low <= self.high)


@dataclass(frozen=True)
class Row:
    """A line of the leaderboard: one model on one data set, over its seeds; `flops` is None where not counted."""

    model: str
    dataset: str
    seeds: tuple[int, ...]
    values: Mapping[str, Interval]
    parameters: int
    flops: int | None = None


@dataclass(frozen=True)
class Paired:
    """McNemar's test of two models on the same test items: `only_a` were right with a and wrong with b."""

    a: str
    b: str
    seed: int
    only_a: int
    only_b: int
    p: float
    adjusted_p: float


def t_interval(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of few values; not known for one value, or when all are the same."""
    array = np.asarray(values, float)
    mean = float(array.mean())
    # Equal results of two seeds do not prove that a third would be equal. Their deviation, rounded, need not be 0.
    if len(array) < 2 or np.ptp(array) == 0:
        return Interval(mean)
    spread = float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(array) - 1)) * spread / math.sqrt(len(array))
    return Interval(mean, mean - half, mean + half, "t over seeds")


def wilson_interval(share: float, total: int) -> Interval:
    """Wilson's interval for a share of `total` items (Wilson 1927); it stays within 0..1, also for 0 and 1."""
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # Rounding may bring a bound past the share itself, at 0 and 1.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), "Wilson")


def interval(metric: str, values: Sequence[float], test_size: int) -> Interval:
    """The interval of a metric: over seeds; for an accuracy that seeds say nothing of, over test items."""
    found = t_interval(values)
    if not found.known:
        return wilson_interval(found.mean, test_size) if metric in ACCURACIES else found
    low = max(0.0, found.low)
    high = min(1.0, found.high) if metric in SHARES else found.high
    return Interval(found.mean, low, high, found.method)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test on two models' right answers: items that only a, only b had right, and the p-value."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    return only_a, only_b, float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for how many tests were made (Holm 1979)."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def paired_tests(cells: Sequence[CellResult]) -> list[Paired]:
    """McNemar's test for every two models of one data set, on their first common seed and the same test items."""
    by_model: dict[str, dict[int, CellResult]] = {}
    for cell in cells:
        by_model.setdefault(cell.model, {})[cell.seed] = cell
    found = []
    for a, b in itertools.combinations(by_model, 2):
        common = sorted(by_model[a].keys() & by_model[b].keys())
        if common and np.array_equal(by_model[a][common[0]].answers, by_model[b][common[0]].answers):
            counts = mcnemar(by_model[a][common[0]].right, by_model[b][common[0]].right)
            found.append(Paired(a, b, common[0], *counts, adjusted_p=math.nan))
    adjusted = holm([test.p for test in found])
    return [dataclasses.replace(test, adjusted_p=p) for test, p in zip(found, adjusted, strict=True)]


def leaderboard(
    cells: Sequence[CellResult], costs: Mapping[str, tuple[int, int | None]], metrics: Sequence[str]
) -> list[Row]:
    """One row a model, by the mean of the first of `metrics`; `costs` are (parameters, FLOPs). All cells are of one
    data set."""
    rows = []
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = sorted((cell for cell in cells if cell.model == model), key=lambda cell: cell.seed)
        size = len(mine[0].right)
        values = {metric: interval(metric, [cell.value(metric) for cell in mine], size) for metric in metrics}
        rows.append(Row(model, mine[0].dataset, tuple(cell.seed for cell in mine), values, *costs[model]))
    return sorted(rows, key=lambda row: -row.values[metrics[0]].mean)


def leading(rows: Sequence[Row], metric: str = "accuracy") -> tuple[Row, list[Row], list[Row]]:
    """The row with the best mean, the rows not distinguishable from it, and the rows behind it."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    ordered = sorted(rows, key=lambda row: sign * row.values[metric].mean)
    best, rest = ordered[0], ordered[1:]
    tied = [row for row in rest if row.values[metric].overlaps(best.values[metric])]
    return best, tied, [row for row in rest if row not in tied]


def confusion(cells: Sequence[ClassifierResult]) -> np.ndarray:
    """Counts int64 `(classes, classes)`, rows true and columns predicted, added up over cells."""
    classes = cells[0].probabilities.shape[1]
    matrix = np.zeros((classes, classes), np.int64)
    for cell in cells:
        np.add.at(matrix, (cell.labels, cell.predicted), 1)
    return matrix
