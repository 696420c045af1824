"""Figures in one style: colors, markers, ticks, legend, files. No pyplot: figures here share no global state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

if TYPE_CHECKING:
    from experiments.reports.statistics import Interval

# Okabe and Ito's colors, which color-blind people can tell apart, then darker ones; markers differ as well.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F3C8D", "#6B6B00", "#A5321E")
MARKERS = "osD^vPX<>*"
CURVE_LABELS = {"train": "training (augmented)", "val": "validation"}
PART_COLORS = {"train": "#1f77b4", "val": "#d95f02", "test": "#222222"}
DPI = 110
MOST_CLASSES = 20  # numbers and names of more would not fit into a matrix


def styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Color and marker of each name."""
    return {
        name: {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]} for i, name in enumerate(names)
    }


def plain(text: str) -> str:
    """A user's text as it is: matplotlib would set what is between dollar signs as a formula."""
    return text.replace("$", r"\$")


def single(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of one panel, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def panels(
    number: int, columns: int, width: float, height: float, margins: tuple[float, float] = (0.6, 0.6), **options: Any
) -> tuple[Figure, list[Any]]:
    """A figure of several panels, each of this size in inches with margins around all; those left over are hidden."""
    columns = min(columns, number)
    lines = -(-number // columns)
    size = (width * columns + margins[0], height * lines + margins[1])
    figure = Figure(figsize=size, layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False, **options).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    return figure, grid[:number]


class Bars(NamedTuple):
    """A panel of bars, a value for each name; the axis begins at 0, or a little below the lowest."""

    title: str
    values: Sequence[Interval]
    show: Callable[[float], str]
    from_zero: bool = True
    highest: float = np.inf  # the largest tick that makes sense


def save_bars(path: Path, names: Sequence[str], all_bars: Sequence[Bars], look: Mapping[str, Any], title: str) -> None:
    """Values as bars with their intervals, where they are known."""
    figure, grid = panels(len(all_bars), 3, 4.3, 0.36 * len(names) + 1.2, (1.5, 0.6), sharey=True)
    for axes, bars in zip(grid, all_bars, strict=True):
        _bars(axes, bars, [look[name]["color"] for name in names])
    grid[0].set_yticks(range(len(names)), [plain(name) for name in names])
    grid[0].invert_yaxis()  # shared by all
    figure.suptitle(plain(title))
    save(figure, path)


def _bars(axes: Any, bars: Bars, colors: Sequence[str]) -> None:
    known = [value for value in bars.values if not np.isnan(value.mean)]
    lowest = min(value.low if value.known else value.mean for value in known)
    highest = max(value.high if value.known else value.mean for value in known)
    start = 0.0 if bars.from_zero else max(0.0, lowest - 0.15 * (highest - lowest) - 0.002)
    room = 0.1 + 0.03 * max(len(bars.show(value.mean)) for value in known)  # for the numbers beside the bars
    places = range(len(bars.values))
    axes.barh(
        places,
        [value.mean for value in bars.values],
        color=colors,
        alpha=0.85,
        xerr=errors(bars.values),
        error_kw={"ecolor": "0.25", "capsize": 3},
    )
    axes.set_xlim(start, highest + max(1e-3, room * (highest - start)))
    axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= min(bars.highest, axes.get_xlim()[1])])
    for place, value in zip(places, bars.values, strict=True):
        if not np.isnan(value.mean):
            end = (value.high if value.known else value.mean) + 0.02 * (highest - start)
            axes.text(end, place, plain(bars.show(value.mean)), va="center", fontsize=9)
    axes.set_title(f"{bars.title}{f', from {start:.3g}' if start else ''}", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def save_costs(
    path: Path,
    values: Mapping[str, Interval],
    costs: Mapping[str, Mapping[str, Interval]],
    look: Mapping[str, Any],
    label: str,
    title: str,
) -> None:
    """A metric of every name against each of its costs, with intervals, a panel a cost."""
    figure, grid = panels(len(costs), 2 if len(costs) == 4 else 3, 4.5, 4.2, sharey=True)
    for axes, (cost, amounts) in zip(grid, costs.items(), strict=True):
        for name, value in values.items():
            axes.errorbar(
                [amounts[name].mean],
                [value.mean],
                xerr=errors([amounts[name]]),
                yerr=errors([value]),
                label=plain(name),
                **look[name],
                markersize=9,
                capsize=3,
                linestyle="",
            )
        axes.set(xlabel=cost, xscale="log")
        plain_ticks(axes)
        axes.margins(x=0.2, y=0.1)
        axes.grid(alpha=0.3)
    grid[0].set_ylabel(label)
    legend(figure, grid[0], columns=3 if max(map(len, values)) > 20 else 6)
    figure.suptitle(plain(title))
    save(figure, path)


def save_curves(
    path: Path,
    history: list[dict[str, float]],
    metric: str,
    title: str,
    best: int,
    test: float,
    labels: Mapping[str, str] = CURVE_LABELS,
) -> None:
    """A metric of training and validation by epoch, with the kept epoch and its test value marked."""
    figure, axes = single(7, 4.5)
    for part, label in labels.items():
        _curve(axes, history, f"{part}_{metric}", label=label, color=PART_COLORS[part])
    axes.plot([best], [test], "*", color=PART_COLORS["test"], markersize=12, label=f"test: {test:.4f}")
    axes.set(ylabel=metric, xlim=(min(1, best) - 0.02 * len(history), len(history) * 1.02))
    _finish(figure, axes, path, title, best)


def save_validation(path: Path, history: list[dict[str, float]], metrics: Sequence[str], title: str, best: int) -> None:
    """Several fractions measured on validation data by epoch, with the kept epoch marked."""
    figure, axes = single(7, 4.5)
    for metric in metrics:
        _curve(axes, history, f"val_{metric}", label=metric.replace("_", " "))
    axes.set(ylabel="fraction of validation data", ylim=(-0.03, 1.03))
    _finish(figure, axes, path, title, best)


def _curve(axes: Any, history: list[dict[str, float]], metric: str, **look: str) -> None:
    values = [epoch[metric] for epoch in history]
    axes.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 3 else None, **look)


def _finish(figure: Figure, axes: Any, path: Path, title: str, best: int) -> None:
    axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
    axes.set(xlabel="epoch", title=plain(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def confusion(axes: Any, matrix: np.ndarray, classes: Sequence[str], size: float = 8) -> Any:
    """Counts (rows: true class, columns: predicted), shaded by the fraction of the row; mistakes in red."""
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= MOST_CLASSES:
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                color = "white" if fractions[row, column] > 0.5 else "#b00020" if row != column else "black"
                axes.text(column, row, f"{number}", ha="center", va="center", color=color, fontsize=size)
        names = [plain(name) for name in classes]
        long = max(map(len, classes)) > 2
        axes.set_xticks(range(len(names)), names, rotation=60 if long else 0, ha="right" if long else "center")
        axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=size)
    return image


def plain_ticks(axes: Any) -> None:
    """0.3, 10, 300 k, 1 M instead of powers of ten, few enough not to touch each other."""
    large = EngFormatter()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value < 1000 else large(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def errors(values: Sequence[Interval]) -> np.ndarray:
    """Lengths of error bars `(2, n)`; NaN, which draws nothing, where an interval is not known."""
    bounds = np.array([(value.mean - value.low, value.high - value.mean) for value in values])
    return np.where(np.isnan(bounds), np.nan, np.maximum(bounds, 0)).T


def legend(figure: Figure, axes: Any, title: str = "", columns: int = 6) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, title=title or None, loc="outside lower center", ncols=min(len(labels), columns), frameon=False
    )


def save(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
