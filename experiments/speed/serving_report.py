"""What was measured of our layers' cost, as a table with the limits that they must keep."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.reports.statistics import Interval, median_interval
from experiments.reports.tables import to_text

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
        rows = []
        for case in self.cases:
            rows.append(_row(case, "predict", case.predict))
            if case.stream:
                rows.append(_row(case, "predict_stream", case.stream))
        lines = [f"medians of calls taken in turns, {self.threads} CPU threads", to_text(rows)]
        lines += [*map(_verdict, self.cases), *(_first(case, case.first) for case in self.cases if case.first)]
        different = [case.name for case in self.cases if not case.same_answer]
        if different:
            lines.append(f"NOT the same work, since the bare model answered otherwise: {', '.join(different)}")
        return "\n".join(lines)


def _row(case: Case, what: str, ours: Sequence[float]) -> dict[str, str]:
    return {
        "": f"{case.name}  {what}",
        "n": str(len(ours)),
        "bare ms": f"{1000 * statistics.median(case.bare):.2f}",
        "ours ms": f"{1000 * statistics.median(ours):.2f}",
        "added ms [95 %]": case.added(ours).format(lambda value: f"{1000 * value:.2f}"),
        "added %": f"{100 * case.share(ours).mean:.2f}",
    }


def _verdict(case: Case) -> str:
    """Whether a limit is kept, as far as the measurements can tell."""
    if case.long:
        value, limit, scale = case.share(case.predict), LONG_LIMIT, 100
        what = f"at most {LONG_LIMIT:.0%} on a long generation"
    else:
        value, limit, scale = case.added(case.predict), REQUEST_LIMIT_MS / 1000, 1000
        what = f"at most {REQUEST_LIMIT_MS:g} ms a request"
    shown = value.format(lambda number: f"{scale * number:.2f}")
    if not value.known:
        found = f"cannot be told from so few calls (median {shown})"
    else:
        word = "kept" if value.high <= limit else "NOT kept" if value.low > limit else "cannot be told"
        found = f"{word} ({shown})"
    return f"{what}: {found}, {case.name}"


def _first(case: Case, first: FirstPiece) -> str:
    piece, bare = (1000 * statistics.median(values) for values in (first.piece, first.bare))
    delays = [1000 * (one - other) for one, other in zip(first.piece, first.token, strict=True)]
    return (
        f"first piece, {case.name}: read after {piece:.2f} ms, {statistics.median(delays):.2f} ms after the model had "
        f"computed its first token (n={len(delays)}); the bare model needs {bare:.2f} ms to write one token"
    )
