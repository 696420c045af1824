"""Intervals and paired tests of evaluated models. Pure functions on plain values."""

import itertools
import math
from collections.abc import Mapping

import numpy as np

from experiments.evaluation.tasks import RowScores
from experiments.reports.statistics import (
    LEVEL,
    Interval,
    Pair,
    adjust,
    bootstrap,
    mcnemar,
    sign_flips,
    wilson_interval,
)
from tasks.registry.scores import LOWER_IS_BETTER


def metric_interval(total: float, scores: RowScores | None) -> Interval:
    """A metric with the 95 % interval over rows; not known without a score for each row, or when all are the same.

    Wilson's for shares of right rows, which is right for few rows and for 0 and 1; else the bootstrap.
    """
    if scores is None:
        return Interval(total)
    if scores.weights is None and set(scores.values) <= {0.0, 1.0}:
        return wilson_interval(total, len(scores.values))
    found = bootstrap(np.array(scores.values), _weights(scores))
    if not found.known:
        return Interval(total)
    low, high = (math.exp(x) if scores.exponential else x for x in (found.low, found.high))
    return Interval(total, min(low, total), max(high, total), found.method)


def pairs(metric: str, scores: Mapping[str, RowScores]) -> list[Pair]:
    """Every two models by their scores of one metric on the same rows; p-values adjusted by Holm for their number."""
    return adjust([_pair(metric, a, b, scores[a], scores[b]) for a, b in itertools.combinations(scores, 2)])


def _pair(metric: str, a: str, b: str, ours: RowScores, theirs: RowScores) -> Pair:
    weights = _weights(ours)
    first, second = np.array(ours.values), np.array(theirs.values)
    differences = first - second
    sign = -1 if metric in LOWER_IS_BETTER else 1
    a_rows, b_rows = (int((side * sign * differences > 0).sum()) for side in (1, -1))
    if set(ours.values) | set(theirs.values) <= {0.0, 1.0}:
        p, test = mcnemar(first == 1, second == 1)[2], "McNemar, exact"
    else:
        p, test = sign_flips(differences * weights)
    difference = bootstrap(differences, weights)
    return Pair(a, b, a_rows, b_rows, p, sign * difference.mean > 0, test, difference=difference)


def rows_needed(tests: int, level: float = 1 - LEVEL) -> int:
    """How many rows must differ, all in favor of one model, for its test among so many to find a difference."""
    return math.ceil(1 + math.log2(max(1, tests) / level))


def _weights(scores: RowScores) -> np.ndarray:
    return np.ones(len(scores.values)) if scores.weights is None else np.array(scores.weights)
