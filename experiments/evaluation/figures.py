"""Figures of evaluated models: one color and marker a model, the same in both."""

import math
from functools import partial
from pathlib import Path

from experiments.evaluation.leaderboard import Leaderboard, shown
from experiments.evaluation.results import LOWER_IS_BETTER
from experiments.reports import figures
from experiments.reports.figures import Bars, styles
from experiments.reports.statistics import Interval


def save_quality(path: Path, board: Leaderboard) -> None:
    """Every metric as bars with the intervals where they are known; all axes begin at 0."""
    bars = []
    for metric in board.metrics:
        values, show = [row.quality[metric] for row in board.rows], partial(shown, metric)
        bars.append(Bars(_title(metric), values, show, highest=math.inf if metric in LOWER_IS_BETTER else 1.0001))
    names = [row.name for row in board.rows]
    figures.save_bars(path, names, bars, styles(names), f"{board.plan.title}, {board.size:,} rows")


def save_cost(path: Path, board: Leaderboard) -> None:
    """The deciding metric against the median latency and the memory of the weights, with intervals."""
    metric, names = board.metrics[0], [row.name for row in board.rows]
    costs = {
        "median seconds of a single request": {row.name: row.latency for row in board.rows},
        "million bytes of weights": {row.name: Interval(row.measured.memory_bytes / 1e6) for row in board.rows},
    }
    values = {row.name: row.quality[metric] for row in board.rows}
    title = f"quality against cost: {board.plan.title}, {board.size:,} rows"
    figures.save_costs(path, values, costs, styles(names), _title(metric), title)


def _title(metric: str) -> str:
    return f"{metric.replace('_', ' ')}{', lower is better' if metric in LOWER_IS_BETTER else ''}"
