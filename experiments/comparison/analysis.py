"""What the numbers of a comparison say, in sentences, where tables and figures do not say it at a glance."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from experiments.comparison.results import CellResult, Row, models_of, shown
from experiments.reports.statistics import Pair
from experiments.reports.text import differences, listed, ranking

LOSS_RISE = 1.2  # over-fitting is worth a sentence from here on: validation loss at the end over its lowest


def analyze(
    metric: str, rows: Sequence[Row], pairs: Sequence[Pair], cells: Sequence[CellResult], items: str
) -> tuple[str, ...]:
    """Paragraphs about one data set; `rows` is its leaderboard, `items` what its test items are called."""
    values = {row.model: row.values[metric] for row in rows}
    paragraphs = (
        ranking(f"mean test {metric.replace('_', ' ')}", values, partial(shown, metric)),
        differences(pairs, f"test {items} (one training each)"),
        _over_fitting(cells),
    )
    return tuple(text for text in paragraphs if text)


def _over_fitting(cells: Sequence[CellResult]) -> str:
    found = []
    for model in models_of(cells):
        losses = [cell.history["val_loss"] for cell in cells if cell.model == model]
        shortest = min(map(len, losses))
        loss = np.mean([one[:shortest] for one in losses], axis=0)
        if loss[-1] > LOSS_RISE * loss.min():
            found.append(f"{model} (from {loss.min():.3f} in epoch {loss.argmin() + 1} to {loss[-1]:.3f})")
    return f"Signs of over-fitting: validation loss rises again with {listed(found)}." if found else ""
