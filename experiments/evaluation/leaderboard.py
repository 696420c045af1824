"""The evaluated models side by side: metrics with their intervals, paired tests, the best first."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.evaluation.measure import Measured
from experiments.evaluation.plan import EvaluationPlan, label
from experiments.evaluation.tasks import RowScores
from experiments.reports.statistics import (
    LEVEL,
    Interval,
    Pair,
    adjust,
    bootstrap,
    leading,
    mcnemar,
    median_interval,
    sign_flips,
    wilson_interval,
)
from tasks.metrics import lower_is_better


class ModelRow(NamedTuple):
    """One model: `quality` are the metrics of its answers, `latency` the median of its single requests in seconds."""

    name: str
    measured: Measured
    quality: Mapping[str, Interval]
    latency: Interval


@dataclass(frozen=True)
class Leaderboard:
    """All models; `failures` says of those that could not be evaluated why.

    Attributes:
        metrics: the columns, the deciding one first.
        rows: by the deciding metric; their order means nothing where intervals overlap.
        pairs: tests of every two models by the deciding metric.
    """

    plan: EvaluationPlan
    metrics: tuple[str, ...]
    rows: tuple[ModelRow, ...]
    pairs: tuple[Pair, ...]
    failures: Mapping[str, str]

    @property
    def size(self) -> int:
        """The number of labeled rows that every model was asked."""
        return len(self.plan.data.rows)

    @property
    def tied(self) -> list[str]:
        """The models not distinguishable from the first."""
        deciding = self.metrics[0]
        return leading({row.name: row.quality[deciding] for row in self.rows}, lower_is_better(deciding))[1]


def make_leaderboard(plan: EvaluationPlan, measured: Sequence[Measured], failures: Mapping[str, str]) -> Leaderboard:
    """The leaderboard of the models that could be evaluated, at least one."""
    deciding = plan.metrics.headline
    metrics = [name for name in measured[0].evaluation.metrics if name != "examples"]
    metrics.sort(key=lambda name: name != deciding)  # the others as they come
    sign = 1 if lower_is_better(deciding) else -1
    rows = sorted((_row(one, metrics) for one in measured), key=lambda row: sign * row.quality[deciding].mean)
    scores = {row.name: row.measured.evaluation.scores[deciding] for row in rows}
    return Leaderboard(plan, tuple(metrics), tuple(rows), tuple(pairs(deciding, scores)), dict(failures))


def _row(measured: Measured, metrics: Sequence[str]) -> ModelRow:
    found = measured.evaluation
    quality = {name: metric_interval(found.metrics[name], found.scores.get(name)) for name in metrics}
    return ModelRow(label(measured.version), measured, quality, median_interval(measured.seconds))


def shown(metric: str, value: float) -> str:
    """A metric with the digits that matter: fractions as percent."""
    return f"{value:,.3f}" if lower_is_better(metric) else f"{value:.1%}"


def metric_interval(total: float, scores: RowScores | None) -> Interval:
    """A metric with the 95 % interval over rows; not known without a score for each row, or when all are the same.

    Wilson's for fractions of right rows, which is right for few rows and for 0 and 1; else the bootstrap.
    """
    if scores is None:
        return Interval(total)
    if scores.weights is None and _right_or_wrong(scores):
        return wilson_interval(total, len(scores.values))
    found = bootstrap(np.array(scores.values), _weights(scores))
    if not found.known:
        return Interval(total)
    low, high = (math.exp(x) if scores.exponential else x for x in (found.low, found.high))
    return Interval(total, min(low, total), max(high, total), found.method)


def pairs(metric: str, scores: Mapping[str, RowScores]) -> list[Pair]:
    """Every two models by their scores of one metric on the same rows; p-values adjusted by Holm for their number."""
    sign, found = -1 if lower_is_better(metric) else 1, []
    for a, b in itertools.combinations(scores, 2):
        first, second = (np.array(scores[name].values) for name in (a, b))
        differences, weights = first - second, _weights(scores[a])
        if _right_or_wrong(scores[a]) and _right_or_wrong(scores[b]):
            p, test = mcnemar(first == 1, second == 1)[2], "McNemar, exact"
        else:
            p, test = sign_flips(differences * weights)
        a_rows, b_rows = (int((side * sign * differences > 0).sum()) for side in (1, -1))
        difference = bootstrap(differences, weights)
        found.append(Pair(a, b, a_rows, b_rows, p, sign * difference.mean > 0, test, difference=difference))
    return adjust(found)


def rows_needed(tests: int) -> int:
    """How many rows must differ, all in favor of one model, for its test among `tests` to find a difference."""
    return math.ceil(1 + math.log2(max(1, tests) / (1 - LEVEL)))


def _right_or_wrong(scores: RowScores) -> bool:
    return set(scores.values) <= {0.0, 1.0}


def _weights(scores: RowScores) -> np.ndarray:
    return np.ones(len(scores.values)) if scores.weights is None else np.array(scores.weights)
