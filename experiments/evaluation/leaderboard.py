"""The evaluated models side by side: metrics with their intervals, the best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.evaluation.measure import Measured
from experiments.evaluation.plan import Plan, label
from experiments.evaluation.results import LOWER_IS_BETTER, metric_interval, pairs
from experiments.reports.statistics import Interval, Pair, leading, median_interval


@dataclass(frozen=True)
class Row:
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

    plan: Plan
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
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
        return leading({row.name: row.quality[deciding] for row in self.rows}, deciding in LOWER_IS_BETTER)[1]


def make_leaderboard(plan: Plan, measured: Sequence[Measured], failures: Mapping[str, str]) -> Leaderboard:
    """The leaderboard of the models that could be evaluated, at least one."""
    deciding = plan.judge.headline
    metrics = [name for name in measured[0].evaluation.metrics if name != "examples"]
    metrics.sort(key=lambda name: name != deciding)  # the others as they come
    sign = 1 if deciding in LOWER_IS_BETTER else -1
    rows = sorted((_row(one, metrics) for one in measured), key=lambda row: sign * row.quality[deciding].mean)
    scores = {row.name: row.measured.evaluation.scores[deciding] for row in rows}
    return Leaderboard(plan, tuple(metrics), tuple(rows), tuple(pairs(deciding, scores)), dict(failures))


def _row(measured: Measured, metrics: Sequence[str]) -> Row:
    found = measured.evaluation
    quality = {name: metric_interval(found.metrics[name], found.scores.get(name)) for name in metrics}
    return Row(label(measured.version), measured, quality, median_interval(measured.seconds))


def shown(metric: str, value: float) -> str:
    """A metric with the digits that matter: fractions as percent."""
    return f"{value:,.3f}" if metric in LOWER_IS_BETTER else f"{value:.1%}"
