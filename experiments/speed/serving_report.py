"""What was measured of our layers' cost, as a table with the limits that they must keep."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.comparison.results import Interval
from experiments.evaluation.results import median_interval

REQUEST_LIMIT_MS = 5.0
LONG_LIMIT = 0.02


@dataclass(frozen=True)
class FirstPiece:
    """Of each stream: seconds until the first piece was read; until the model had computed its first token, in the same
    call; and in other calls, taken in turns, until the bare model had written one token.

    Where the first piece takes several tokens (a character of several bytes), they count as its delay.
    """

    piece: tuple[float, ...]
    token: tuple[float, ...]
    bare: tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """One model and request.

    `bare`, `predict` and `stream` are seconds, one of each in every turn; `stream` is empty where nothing streams.
    """

    name: str
    long: bool
    same_answer: bool
    bare: tuple[float, ...]
    predict: tuple[float, ...]
    stream: tuple[float, ...] = ()
    first: FirstPiece | None = None

    def added(self, ours: Sequence[float]) -> Interval:
        """The median of what a call takes more than the bare one of the same turn, in seconds."""
        return median_interval([one - other for one, other in zip(ours, self.bare, strict=True)])

    def share(self, ours: Sequence[float]) -> Interval:
        """The median of the same as a share of the bare call."""
        return median_interval([one / other - 1 for one, other in zip(ours, self.bare, strict=True)])


@dataclass(frozen=True)
class OverheadResult:
    """All cases, in the order in which they were measured."""

    cases: tuple[Case, ...]
    threads: int

    def table(self) -> str:
        """The result for a terminal."""
        width = max(len(case.name) for case in self.cases)
        head = ("n", "bare ms", "ours ms", "added ms [95 %]", "added %", "")
        sizes = (5, 10, 10, 26, 9, 0)
        titles = "".join(f"{title:>{size}}" for title, size in zip(head, sizes, strict=True))
        lines = [f"medians of calls taken in turns, {self.threads} CPU threads", f"{'':{width + 16}}{titles}"]
        for case in self.cases:
            lines.append(_line(case, "predict", case.predict, width))
            if case.stream:
                lines.append(_line(case, "predict_stream", case.stream, width))
        lines += [*self._verdicts(), *(_first(case, case.first) for case in self.cases if case.first)]
        different = [case.name for case in self.cases if not case.same_answer]
        if different:
            lines.append(f"NOT the same work, since the bare model answered otherwise: {', '.join(different)}")
        return "\n".join(lines)

    def _verdicts(self) -> list[str]:
        lines = []
        for case in self.cases:
            if case.long:
                value = case.share(case.predict)
                percent = Interval(100 * value.mean, 100 * value.low, 100 * value.high, value.method)
                lines.append(f"at most {LONG_LIMIT:.0%} on a long generation: {_kept(percent, 100 * LONG_LIMIT)}, "
                             f"{case.name}")  # fmt: skip
            else:
                value = case.added(case.predict)
                thousandths = Interval(1000 * value.mean, 1000 * value.low, 1000 * value.high, value.method)
                lines.append(f"at most {REQUEST_LIMIT_MS:g} ms a request: {_kept(thousandths, REQUEST_LIMIT_MS)}, "
                             f"{case.name}")  # fmt: skip
        return lines


def _kept(value: Interval, limit: float) -> str:
    """Whether a limit is kept, as far as the measurements can tell."""
    shown = f"{value.mean:.2f}"
    if not value.known:
        return f"cannot be told from so few calls (median {shown})"
    shown += f" [{value.low:.2f}, {value.high:.2f}]"
    return f"kept ({shown})" if value.high <= limit else f"NOT kept ({shown})" if value.low > limit else \
           f"cannot be told ({shown})"  # fmt: skip


def _line(case: Case, what: str, ours: Sequence[float], width: int) -> str:
    added = case.added(ours)
    span = f" [{1000 * added.low:.2f}, {1000 * added.high:.2f}]" if added.known else ""
    times = "".join(f"{1000 * statistics.median(values):10.2f}" for values in (case.bare, ours))
    return (
        f"{case.name:{width}}  {what:14}{len(ours):5}{times}{f'{1000 * added.mean:.2f}{span}':>26}"
        f"{100 * case.share(ours).mean:9.2f}"
    )


def _first(case: Case, first: FirstPiece) -> str:
    piece, bare = (1000 * statistics.median(values) for values in (first.piece, first.bare))
    delays = [1000 * (one - other) for one, other in zip(first.piece, first.token, strict=True)]
    return (
        f"first piece, {case.name}: read after {piece:.2f} ms, {statistics.median(delays):.2f} ms after the model had "
        f"computed its first token (n={len(delays)}); the bare model needs {bare:.2f} ms to write one token"
    )
