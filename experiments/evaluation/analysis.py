"""What a comparison of registered models says, in sentences. Nothing is ranked inside an interval."""

import statistics
from collections.abc import Sequence

from experiments.comparison.analysis import listed
from experiments.evaluation.leaderboard import Board, Line, alone, shown, with_interval
from experiments.evaluation.results import LOWER_IS_BETTER, Pair, rows_needed

SIGNIFICANT = 0.05
FEW_ROWS = 100

NOTES = (
    "Every model got the same rows with the same settings, one model after the other, each unloaded before the next.",
    "Intervals are 95 % intervals over rows: Wilson's for shares of right rows, else the bootstrap with a fixed seed, "
    "widened for few rows. They say what other rows of the same kind could change, and nothing of rows of other kinds.",
    "Latency: median and 95th percentile of single requests after one that does not count, on this machine as it was; "
    "the small numbers are the 95 % interval of the median by order statistics. After each request fixed work was "
    "timed, which tells whether the machine was as fast for one model as for another.",
    "tokens/s: tokens that the results of these requests name (read by models that classify, written by those that "
    "write) by their seconds.",
    "Memory: bytes of the weights; growth: by how much the process grew at most while the model was loaded and "
    "answered the single requests. Loading: a second time, with libraries and files in memory already.",
    "A model may have seen the rows, or others like them, in its training: that shows in no number here.",
)


def analyse(board: Board) -> list[str]:
    """Paragraphs about a board."""
    found = (_ranking(board), _pairs(board), _speed(board), _size(board), _limits(board), _failed(board))
    return [paragraph for paragraph in found if paragraph]


def _ranking(board: Board) -> str:
    metric, best = board.metrics[0], board.lines[0]
    name = metric.replace("_", " ")
    rows = f"the {board.rows:,} rows" if board.rows > 1 else "the one row"
    value = with_interval(metric, best.quality[metric])
    if len(board.lines) == 1:
        return f"{best.name} has {name} {value} on {rows} of {board.plan.data.name}."
    text = f"{best.name} has the {'lowest' if metric in LOWER_IS_BETTER else 'highest'} {name} on {rows} of " \
           f"{board.plan.data.name}, {value}."  # fmt: skip
    tied = board.tied
    behind = [line for line in board.lines[1:] if line not in tied]
    if not tied:
        return f"{text} Its interval lies apart from all others."
    if not behind:
        return f"{text} That does not put it ahead: no other interval lies apart from its own ({_names(tied, metric)})."
    return (
        f"{text} Not distinguishable from it, because the intervals overlap: {_names(tied, metric)}. Behind it, with "
        f"an interval apart from its own: {_names(behind, metric)}."
    )


def _pairs(board: Board) -> str:
    if not board.pairs:
        return ""
    count = "1 pair" if len(board.pairs) == 1 else f"{len(board.pairs)} pairs"
    head = f"Row by row, with paired tests of {board.metrics[0].replace('_', ' ')} ({count}, Holm-adjusted),"
    different = [pair for pair in board.pairs if pair.adjusted_p < SIGNIFICANT]
    if not different:
        return f"{head} no difference is found at {SIGNIFICANT:.0%}."
    found = "; ".join(_winner(board, pair) for pair in different)
    return f"{head} a difference is found at {SIGNIFICANT:.0%}: {found}."


def _winner(board: Board, pair: Pair) -> str:
    metric = board.metrics[0]
    a_wins = (pair.difference.mean < 0) == (metric in LOWER_IS_BETTER)
    winner, loser = (pair.a, pair.b) if a_wins else (pair.b, pair.a)
    won, lost = (pair.a_rows, pair.b_rows) if a_wins else (pair.b_rows, pair.a_rows)
    return (
        f"{winner} is better than {loser} by {shown(metric, abs(pair.difference.mean))} "
        f"(better on {won} rows, worse on {lost}; p {pair.adjusted_p:.2g})"
    )


def _speed(board: Board) -> str:
    if len(board.lines) < 2:
        return ""
    fastest = alone(board.lines, lambda line: line.latency)
    counts = sorted({len(line.judged.seconds) for line in board.lines})
    basis = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if fastest is None:
        return f"By {basis} single requests each, no model is the fastest: median intervals overlap, or are not known."
    others = [line for line in board.lines if line is not fastest]
    times = min(line.latency.mean for line in others) / fastest.latency.mean
    paces = [statistics.median(line.judged.pace) for line in board.lines]
    drift = max(paces) / min(paces)
    found = f"median {seconds(fastest.latency.mean)} over {basis} single requests, the next {times:.2f} times as much"
    if times <= drift:
        return (
            f"{fastest.name} has the shortest latency ({found}), but the models were timed one after the other, and "
            f"fixed work in between took up to {drift:.2f} times as long with one as with another: the machine alone "
            "may explain it."
        )
    return (
        f"{fastest.name} answers fastest ({found}); its interval lies below all others, and fixed work in between "
        f"changed by a factor of {drift:.2f} only."
    )


def _size(board: Board) -> str:
    if len(board.lines) < 2:
        return ""
    smallest = min(board.lines, key=lambda line: line.judged.memory_bytes)
    largest = max(board.lines, key=lambda line: line.judged.memory_bytes)
    if smallest.judged.memory_bytes == largest.judged.memory_bytes:
        return f"The weights of all take {megabytes(smallest.judged.memory_bytes)} of memory."
    return (
        f"The weights of {smallest.name} take least memory, {megabytes(smallest.judged.memory_bytes)}; those of "
        f"{largest.name} most, {megabytes(largest.judged.memory_bytes)}."
    )


def _limits(board: Board) -> str:
    """What so few rows cannot tell."""
    if board.rows >= FEW_ROWS or len(board.lines) < 2:
        return ""
    needed = rows_needed(len(board.pairs))
    rows = "one row is" if board.rows == 1 else f"{board.rows} rows are"
    if board.rows < needed:
        return (
            f"{rows.capitalize()} too few to find any difference: {needed} rows on which one model does better, and "
            "none on which it does worse, would be needed. The numbers show that the models work, not which is better."
        )
    return (
        f"{rows.capitalize()} few: a model must do better on at least {needed} of them, and worse on none, for its "
        "difference to be found. That none is found does not mean that there is none."
    )


def _failed(board: Board) -> str:
    if not board.failures:
        return ""
    return f"Not judged: {'; '.join(f'{name} ({reason})' for name, reason in board.failures.items())}."


def _names(lines: Sequence[Line], metric: str) -> str:
    return listed([f"{line.name} {shown(metric, line.quality[metric].mean)}" for line in lines])


def seconds(value: float) -> str:
    """A time with the unit that fits."""
    return f"{value * 1000:,.3g} ms" if value < 1 else f"{value:,.2f} s"


def megabytes(value: float) -> str:
    """Bytes in millions, with digits that matter."""
    return f"{value / 1e6:,.0f} MB" if value >= 1e7 else f"{value / 1e6:,.2f} MB"
