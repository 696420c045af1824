"""Sentences of several reports. Nothing is ranked inside an interval."""

from collections.abc import Callable, Mapping, Sequence

from experiments.reports.statistics import SIGNIFICANT, Interval, Pair, by_models, differ, leading


def format_duration(seconds: float) -> str:
    """Such as `7 s`, `10 min`, `2.2 hours`, `4.6 days`."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (36 * 3600, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.{int(unit == 3600)}f} {name}"
    return f"{seconds / 86400:.1f} days"


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def count(number: int, thing: str) -> str:
    """`1 row`, `1,000 rows`."""
    return f"{number:,} {thing}{'s' if number != 1 else ''}"


def ranking(
    metric: str, values: Mapping[str, Interval], show: Callable[[float], str], lower_is_better: bool = False
) -> str:
    """Who leads in a metric, who cannot be told apart from the leader, and who is behind."""
    best, tied, behind = leading(values, lower_is_better)
    # Those that are shown with the same number lead together.
    level = [best, *(name for name in tied if show(values[name].mean) == show(values[best].mean))]
    extreme = f"the {'lowest' if lower_is_better else 'highest'} {metric}"
    alone = len(level) == 1
    if alone:
        text = f"{best} has {extreme}, {values[best].format(show)}."
    else:
        text = f"{listed(level)} have {extreme}, {show(values[best].mean)}."
    if len(values) == 1:
        return text

    def named(names: Sequence[str]) -> str:
        return ", ".join(f"{name} ({show(values[name].mean)})" for name in names)

    if not tied:
        return f"{text} Its interval is apart from all others."
    own, of_it = ("its own", "it") if alone else (f"that of {best}", best)
    if not behind:
        return f"{text} No model is ahead: all intervals overlap with {own} ({named(tied)})."
    return (
        f"{text} Not distinguishable from {of_it}, with overlapping intervals: {named(tied)}. "
        f"Behind {of_it}: {named(behind)}."
    )


def differences(pairs: Sequence[Pair], items: str) -> str:
    """What paired tests on the same test items, of this name, found; of several seeds, what all of them found."""
    if not pairs:
        return ""
    groups = by_models(pairs)
    fewest, most = min(map(len, groups)), max(map(len, groups))
    seeds = count(most, "seed") if fewest == most else f"{fewest} to {most} seeds that both have"
    of_seeds, every = (f", {seeds}", " that every seed shows") if most > 1 else ("", "")
    head = f"Paired tests on the same {items} ({count(len(groups), 'pair')}{of_seeds}, Holm-adjusted)"
    wins: dict[str, list[str]] = {}
    for first, *rest in groups:
        if differ([first, *rest]):
            winner, loser = (first.a, first.b) if first.a_leads else (first.b, first.a)
            wins.setdefault(winner, []).append(loser)
    if not wins:
        return f"{head} find no difference at {SIGNIFICANT:.0%}{every}."
    found = "; ".join(f"{winner} is better than {listed(losers)}" for winner, losers in wins.items())
    return f"{head} find differences at {SIGNIFICANT:.0%}{every}: {found}."


def shown(value: object) -> str:
    """A number with the digits that matter: 12,345 but 12.3 and 1.23."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
    return "–" if value is None else str(value)
