"""The judged models side by side: metrics with their intervals, the best first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.comparison.results import Interval
from experiments.evaluation.measure import Judged
from experiments.evaluation.plan import Plan, label
from experiments.evaluation.results import LOWER_IS_BETTER, Pair, median_interval, metric_interval, pairs


@dataclass(frozen=True)
class Line:
    """One model: `quality` are the metrics of its answers, `latency` the median of its single requests in seconds."""

    name: str
    judged: Judged
    quality: Mapping[str, Interval]
    latency: Interval


@dataclass(frozen=True)
class Board:
    """All models; `failures` says of those that could not be judged why.

    Attributes:
        metrics: the columns, the deciding one first.
        lines: by the deciding metric; their order means nothing where intervals overlap.
        pairs: tests of every two models by the deciding metric.
    """

    plan: Plan
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    pairs: tuple[Pair, ...]
    failures: Mapping[str, str]

    @property
    def rows(self) -> int:
        return len(self.plan.data.rows)

    @property
    def tied(self) -> list[Line]:
        """The models not distinguishable from the first."""
        deciding = self.metrics[0]
        best = self.lines[0].quality[deciding]
        return [line for line in self.lines[1:] if line.quality[deciding].overlaps(best)]


def make_board(plan: Plan, judged: Sequence[Judged], failures: Mapping[str, str]) -> Board:
    """The board of the models that could be judged, at least one."""
    deciding = plan.judge.deciding
    metrics = [name for name in judged[0].evaluation.metrics if name != "examples"]
    metrics.sort(key=lambda name: (name != deciding, name != plan.judge.headline))  # the others as they come
    lines = [_line(one, metrics) for one in judged]
    sign = 1 if deciding in LOWER_IS_BETTER else -1
    lines.sort(key=lambda line: sign * line.quality[deciding].mean)
    scores = {line.name: line.judged.evaluation.scores[deciding] for line in lines}
    return Board(plan, tuple(metrics), tuple(lines), tuple(pairs(deciding, scores)), dict(failures))


def _line(judged: Judged, metrics: Sequence[str]) -> Line:
    found = judged.evaluation
    quality = {name: metric_interval(found.metrics[name], found.scores.get(name)) for name in metrics}
    return Line(label(judged.version), judged, quality, median_interval(judged.seconds))


def alone(lines: Sequence[Line], value: Callable[[Line], Interval]) -> Line | None:
    """The line whose interval lies below all others'; None if there is none, or only one line."""
    ordered = sorted(lines, key=lambda line: value(line).mean)
    if len(ordered) < 2 or any(value(ordered[0]).overlaps(value(other)) for other in ordered[1:]):
        return None
    return ordered[0]


def shown(metric: str, value: float) -> str:
    """A metric in words: shares as percent."""
    return f"{value:,.3f}" if metric in LOWER_IS_BETTER else f"{value:.1%}"


def with_interval(metric: str, value: Interval) -> str:
    """Such as `90.0% [59.6%, 98.2%]`."""
    text = shown(metric, value.mean)
    return f"{text} [{shown(metric, value.low)}, {shown(metric, value.high)}]" if value.known else text
