"""Intervals and paired tests of judged models. Pure functions on plain values; chance comes from a fixed seed."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.comparison.results import LEVEL, Interval, holm, mcnemar, wilson_interval
from experiments.evaluation.tasks import RowScores
from tasks.registry.scores import LOWER_IS_BETTER

SEED = 0
RESAMPLES = 4000
FLIPS = 20_000
EXACT_ROWS = 14  # all 2^14 ways to flip signs are fewer than FLIPS
CELLS_AT_ONCE = 4_000_000  # numbers in memory at once


@dataclass(frozen=True)
class Pair:
    """Two models on the same rows: the difference of their metric (a minus b), where it may lie, and a test of it.

    `a_rows` and `b_rows` count the rows on which a, b did better; the others are equal.
    """

    a: str
    b: str
    difference: Interval
    a_rows: int
    b_rows: int
    p: float
    adjusted_p: float
    test: str


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


def bootstrap(values: np.ndarray, weights: np.ndarray) -> Interval:
    """The weighted mean with its interval by resampling rows, widened for few of them.

    Percentiles of a bootstrap are too narrow for few rows; they are taken further out, so that for a normal mean they
    would be Student's interval (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.1).
    """
    mean, count = float((values * weights).sum() / weights.sum()), len(values)
    if count < 2 or np.ptp(values) == 0:  # equal rows do not prove that others would be equal
        return Interval(mean)
    means = np.concatenate(list(_resampled(values, weights)))
    tail = float(stats.norm.cdf(-math.sqrt(count / (count - 1)) * stats.t.ppf((1 + LEVEL) / 2, count - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high), "bootstrap")


def _resampled(values: np.ndarray, weights: np.ndarray) -> Iterator[np.ndarray]:
    """RESAMPLES weighted means of rows drawn with replacement, in portions that fit into memory."""
    generator, count = np.random.default_rng(SEED), len(values)
    portion = max(1, CELLS_AT_ONCE // count)
    for start in range(0, RESAMPLES, portion):
        drawn = generator.integers(count, size=(min(portion, RESAMPLES - start), count))
        sums = weights[drawn].sum(axis=1)
        # Rows without a token have no weight; a sample of nothing else has no mean.
        yield (values * weights)[drawn].sum(axis=1)[sums > 0] / sums[sums > 0]


def median_interval(values: Sequence[float]) -> Interval:
    """The median with the 95 % interval between two of the ordered values, whatever their distribution.

    Not known below six values, which not even the whole range would cover so often (David and Nagaraja 2003, 7.1).
    """
    ordered, count = sorted(values), len(values)
    median = float(np.median(ordered))
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, count, 0.5))  # so many may lie below the interval
    if rank < 1:
        return Interval(median)
    return Interval(median, ordered[rank - 1], ordered[count - rank], "order statistics")


def pairs(metric: str, scores: Mapping[str, RowScores]) -> list[Pair]:
    """Every two models by their scores of one metric on the same rows; p-values adjusted by Holm for their number."""
    found = [_pair(metric, a, b, scores[a], scores[b]) for a, b in itertools.combinations(scores, 2)]
    adjusted = holm([one.p for one in found])
    return [dataclasses.replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)]


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
    return Pair(a, b, bootstrap(differences, weights), a_rows, b_rows, p, math.nan, test)


def sign_flips(differences: np.ndarray) -> tuple[float, str]:
    """Fisher's randomisation test of paired differences: how often would their sum be as far from 0 if each row's two
    scores had been dealt out by chance? All ways for few rows that differ, else FLIPS drawn ones.
    """
    real = differences[differences != 0]
    count = len(real)
    if count == 0:
        return 1.0, "sign flips, exact"
    observed = abs(real.sum()) * (1 - 1e-9)  # sums of the same numbers in another order differ by rounding
    if count <= EXACT_ROWS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ real) >= observed).mean()), "sign flips, exact"
    generator, extreme = np.random.default_rng(SEED), 0
    portion = max(1, CELLS_AT_ONCE // count)
    for start in range(0, FLIPS, portion):
        signs = 1 - 2 * generator.integers(2, size=(min(portion, FLIPS - start), count))
        extreme += int((np.abs(signs @ real) >= observed).sum())
    return (extreme + 1) / (FLIPS + 1), f"sign flips, {FLIPS:,} drawn"


def rows_needed(tests: int, level: float = 1 - LEVEL) -> int:
    """How many rows must differ, all in favour of one model, for its test among so many to find a difference."""
    return math.ceil(1 + math.log2(max(1, tests) / level))


def _weights(scores: RowScores) -> np.ndarray:
    return np.ones(len(scores.values)) if scores.weights is None else np.array(scores.weights)
