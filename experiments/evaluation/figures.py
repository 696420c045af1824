"""Figures of judged models: one colour and marker a model, the same in both."""

from pathlib import Path

from matplotlib.figure import Figure

from experiments.comparison.figures import errors, legend, plain_ticks, save, styles
from experiments.evaluation.leaderboard import Board, shown
from experiments.evaluation.results import LOWER_IS_BETTER

COLUMNS = 3


def save_quality(path: Path, board: Board) -> None:
    """Every metric as bars with the intervals where they are known; all axes begin at 0."""
    look = styles([line.name for line in board.lines])
    columns = min(COLUMNS, len(board.metrics))
    lines = -(-len(board.metrics) // columns)
    figure = Figure(figsize=(4.2 * columns + 3, lines * (0.4 * len(board.lines) + 1.3) + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    places = range(len(board.lines))
    for axes, metric in zip(grid.flat, board.metrics, strict=False):
        values = [line.quality[metric] for line in board.lines]
        axes.barh(places, [value.mean for value in values], color=[look[line.name]["color"] for line in board.lines],
                  alpha=0.85, xerr=errors(values), error_kw={"ecolor": "0.25", "capsize": 3})  # fmt: skip
        end = max((value.high if value.known else value.mean) for value in values) or 1.0
        axes.set_xlim(0, 1.25 * end)
        for place, value in zip(places, values, strict=True):
            reach = value.high if value.known else value.mean
            axes.text(reach + 0.02 * end, place, _plain(shown(metric, value.mean)), va="center", fontsize=9)
        better = ", lower is better" if metric in LOWER_IS_BETTER else ""
        axes.set_title(f"{metric.replace('_', ' ')}{better}", fontsize=10)
        axes.grid(axis="x", alpha=0.3)
    for axes in grid.flat[len(board.metrics) :]:
        axes.axis("off")
    grid[0, 0].set_yticks(places, [_plain(line.name) for line in board.lines])
    grid[0, 0].invert_yaxis()  # shared by all
    figure.suptitle(_plain(f"{board.plan.task}, {board.rows:,} rows of {board.plan.data.name}"))
    save(figure, path)


def save_cost(path: Path, board: Board) -> None:
    """The deciding metric against the median latency and the memory of the weights, with intervals."""
    metric = board.metrics[0]
    look = styles([line.name for line in board.lines])
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    by_time, by_size = figure.subplots(1, 2, sharey=True)
    for line in board.lines:
        value, style = line.quality[metric], look[line.name]
        options = {"yerr": errors([value]), "markersize": 9, "capsize": 3, "linestyle": ""}
        by_time.errorbar([line.latency.mean], [value.mean], xerr=errors([line.latency]), label=_plain(line.name),
                         **style, **options)  # fmt: skip
        by_size.errorbar([line.judged.memory_bytes / 1e6], [value.mean], **style, **options)
    for axes, name in ((by_time, "median seconds of a single request"), (by_size, "million bytes of weights")):
        axes.set(xlabel=name, xscale="log")
        plain_ticks(axes)
        axes.margins(x=0.2, y=0.1)
        axes.grid(alpha=0.3)
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    by_time.set_ylabel(f"{metric.replace('_', ' ')}, {better} is better")
    legend(figure, by_time, "", min(3, len(board.lines)))
    figure.suptitle(_plain(f"quality against cost: {board.plan.task}, {board.rows:,} rows of {board.plan.data.name}"))
    save(figure, path)


def _plain(text: str) -> str:
    """A person's text as it is: matplotlib would set what is between dollar signs as a formula."""
    return text.replace("$", r"\$")
