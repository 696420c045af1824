"""What a comparison of registered models says in sentences, where tables do not say it at a glance."""

import statistics
from functools import partial

from experiments.evaluation.leaderboard import Leaderboard, shown
from experiments.evaluation.results import LOWER_IS_BETTER, rows_needed
from experiments.reports.text import count, differences, ranking

FEW_ROWS = 100

NOTES = (
    "Every model got the same rows with the same settings, one model after the other, each unloaded before the next.",
    "Intervals are 95 % intervals over rows: Wilson's for fractions of right rows, else the bootstrap with a fixed "
    "seed, widened for few rows. They say what other rows of the same kind could change, and nothing of rows of other "
    "kinds.",
    "Latency: median and 95th percentile of single requests after one that does not count, on this machine as it was; "
    "the small numbers are the 95 % interval of the median by order statistics.",
    "tokens/s: tokens that the results of these requests name (read by models that classify, written by those that "
    "write) by their seconds.",
    "Memory: bytes of the weights; growth: by how much the process grew at most while the model was loaded and "
    "answered the single requests. Loading: a second time, with libraries and files in memory already.",
    "A model may have seen the rows, or others like them, in its training: that shows in no number here.",
)


def analyze(board: Leaderboard) -> list[str]:
    """Paragraphs about a leaderboard."""
    metric = board.metrics[0]
    where = f"{metric.replace('_', ' ')} on {count(board.size, 'row')} of {board.plan.data.name}"
    values = {row.name: row.quality[metric] for row in board.rows}
    ranked = ranking(where, values, partial(shown, metric), metric in LOWER_IS_BETTER)
    return [text for text in (ranked, differences(board.pairs, "rows"), _few_rows(board), _pace(board)) if text]


def _few_rows(board: Leaderboard) -> str:
    """What so few rows cannot tell."""
    if board.size >= FEW_ROWS or not board.pairs:
        return ""
    needed = rows_needed(len(board.pairs))
    found = "cannot find any difference" if board.size < needed else "find only large differences"
    return f"{count(board.size, 'row')} {found}: one model must do better on at least {needed}, and worse on none."


def _pace(board: Leaderboard) -> str:
    """How far the machine itself may explain differences in latency."""
    if len(board.rows) == 1:
        return ""
    paces = [statistics.median(row.measured.pace) for row in board.rows]
    return (
        f"The same fixed work, timed after every request, took up to {max(paces) / min(paces):.2f} times as long with "
        "one model as with another: latencies that differ by less than that may be the machine's."
    )
