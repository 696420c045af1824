"""Intervals and tests, most of them names over scipy.stats. Pure functions on plain values, with a fixed seed."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
SIGNIFICANT = 0.05
SEED = 0
RESAMPLES = 4000
FLIPS = 20_000  # up to this number of ways to flip signs all are tried; of more, a sample of this size
CELLS_AT_ONCE = 400_000  # numbers in memory at once


@dataclass(frozen=True)
class Interval:
    """A value and where it may lie; `low` and `high` are NaN where nothing says how far it may be off."""

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

    def format(self, show: Callable[[float], str]) -> str:
        """Such as `90.0% [59.6%, 98.2%]`, or the value alone where the interval is not known."""
        return f"{show(self.mean)} [{show(self.low)}, {show(self.high)}]" if self.known else show(self.mean)


@dataclass(frozen=True)
class Pair:
    """Two models on the same test items, and a test whether they differ.

    Attributes:
        a_better, b_better: the number of items on which each did better; the others are equal.
        a_leads: whether a is the better one over all items.
        adjusted_p: after Holm's adjustment for the number of pairs.
        difference: of their metric, a minus b, where it was measured.
        seed: of the two trainings, where models were trained with several.
    """

    a: str
    b: str
    a_better: int
    b_better: int
    p: float
    a_leads: bool
    test: str = "McNemar, exact"
    adjusted_p: float = math.nan
    difference: Interval | None = None
    seed: int = 0


def leading(values: Mapping[str, Interval], lower_is_better: bool = False) -> tuple[str, list[str], list[str]]:
    """The name with the best mean, those not distinguishable from it, and those behind it, each best first."""
    ordered = sorted(values, key=lambda name: values[name].mean * (1 if lower_is_better else -1))
    best, rest = ordered[0], ordered[1:]
    tied = [name for name in rest if values[name].overlaps(values[best])]
    return best, tied, [name for name in rest if name not in tied]


def t_interval(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of few values; not known for one value, or when all are the same."""
    mean = float(np.mean(values))
    # Equal results of two seeds do not prove that a third would be equal.
    if len(values) < 2 or np.ptp(values) == 0:
        return Interval(mean)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(LEVEL)
    return Interval(mean, float(low), float(high), "t over seeds")


def wilson_interval(fraction: float, total: int) -> Interval:
    """Wilson's interval for a fraction of `total` items; it stays within 0..1, also for 0 and 1."""
    low, high = stats.binomtest(round(fraction * total), total).proportion_ci(LEVEL, method="wilson")
    # Rounding may bring a bound past the fraction itself, at 0 and 1.
    return Interval(fraction, min(fraction, float(low)), max(fraction, float(high)), "Wilson")


def median_interval(values: Sequence[float]) -> Interval:
    """The median with the interval between two of the ordered values, whatever their distribution.

    Not known below six values, which not even the whole range would cover often enough.
    """
    median = float(np.median(values))
    if len(values) < 2:
        return Interval(median)
    low, high = stats.quantile_test(values, p=0.5).confidence_interval(LEVEL)
    return Interval(median) if np.isnan([low, high]).any() else Interval(median, low, high, "order statistics")


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


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test on two models' right answers: items that only a, only b had right, and the p-value."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    p = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0
    return only_a, only_b, float(p)


def sign_flips(differences: np.ndarray) -> tuple[float, str]:
    """Fisher's randomization test of paired differences: how often would their sum be as far from 0 if each row's two
    scores had been dealt out by chance? All ways for few rows that differ, else FLIPS drawn ones.
    """
    real = differences[differences != 0]
    if len(real) < 2:  # one difference is as far from 0 either way
        return 1.0, "sign flips, exact"
    found = stats.permutation_test(
        (real,),
        np.sum,
        permutation_type="samples",
        n_resamples=FLIPS,
        batch=max(1, CELLS_AT_ONCE // len(real)),
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue), "sign flips, exact" if 2 ** len(real) <= FLIPS else f"sign flips, {FLIPS:,} drawn"


def by_models(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The tests of every two models, one for each seed, the least clear first."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.a, pair.b), []).append(pair)
    return [sorted(tests, key=lambda test: -test.p) for tests in groups.values()]


def differ(tests: Sequence[Pair]) -> bool:
    """Whether two models differ with every seed, and in the same direction."""
    return all(test.adjusted_p < SIGNIFICANT and test.a_leads == tests[0].a_leads for test in tests)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests (Holm 1979)."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def adjust(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs with their p-values adjusted by Holm for their number."""
    adjusted = holm([pair.p for pair in pairs])
    return [dataclasses.replace(pair, adjusted_p=p) for pair, p in zip(pairs, adjusted, strict=True)]
