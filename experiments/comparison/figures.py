"""Figures of a comparison: one colour and marker a model, the same in all of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from experiments.comparison.results import SHARES, CellResult, ClassifierResult, Interval, Row, confusion

# Okabe and Ito's colours, which colour-blind people can tell apart, then darker ones; markers differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F3C8D", "#6B6B00", "#A5321E")
MARKERS = "osD^vPX<>*"
BAR_METRICS = ("accuracy", "precision", "recall", "f1", "loss", "ece")
FROM_ZERO = {"loss", "ece", "seconds", "examples_per_second"}
MATRIX_COLUMNS = 3


def styles(models: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of each model."""
    return {
        model: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, model in enumerate(models)
    }


def save_curves(path: Path, cells: Sequence[CellResult], metric: str, title: str, training: str = "augmented") -> None:
    """A metric of validation (solid) and training (dashed, where there is one) against epochs and against seconds, mean
    over seeds; a training that ended early keeps its last value. `training` says what is different in training."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    by_epoch, by_second = figure.subplots(1, 2, sharey=True)
    look = styles(_models(cells))
    for model, style in look.items():
        mine = [cell for cell in cells if cell.model == model]
        seconds = _together([cell.history["epoch_seconds"].cumsum() for cell in mine])
        _curve(by_epoch, np.arange(1, seconds.shape[1] + 1), mine, metric, style)
        _curve(by_second, seconds.mean(axis=0), mine, metric, style)
    by_epoch.set(xlabel="epoch", ylabel=metric.replace("_", " "), title="by epoch")
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_second.set(xlabel="seconds of training", title="by time")
    by_second.set_xscale("log")
    plain_ticks(by_second)
    for axes in (by_epoch, by_second):
        axes.grid(alpha=0.3)
        _limit(axes, cells, metric)
    dashed = f"   dashed: training, {training}" if any(f"train_{metric}" in cell.history for cell in cells) else ""
    legend(figure, by_epoch, f"solid: validation (band: lowest to highest seed){dashed}", len(look))
    figure.suptitle(title)
    save(figure, path)


def _together(histories: Sequence[np.ndarray]) -> np.ndarray:
    """Histories of several seeds as one array `(seeds, epochs)`; the shorter ones keep their last value."""
    longest = max(map(len, histories))
    return np.array([np.pad(history, (0, longest - len(history)), mode="edge") for history in histories])


def _curve(axes: Any, x: np.ndarray, cells: Sequence[CellResult], metric: str, style: dict[str, str]) -> None:
    if any(f"val_{metric}" not in cell.history for cell in cells):
        return
    values = _together([cell.history[f"val_{metric}"] for cell in cells])
    colour, marker = style["color"], style["marker"]
    every = max(1, len(x) // 8)
    axes.plot(x, values.mean(axis=0), color=colour, marker=marker, markevery=every, markersize=5, label=cells[0].model)
    if all(f"train_{metric}" in cell.history for cell in cells):
        train = _together([cell.history[f"train_{metric}"] for cell in cells]).mean(axis=0)
        axes.plot(x, train, color=colour, linestyle="--", linewidth=1, alpha=0.6, marker=marker if len(x) < 3 else None)
    if len(cells) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def _limit(axes: Any, cells: Sequence[CellResult], metric: str) -> None:
    """Give room to where the curves end: the first wild epochs would press the rest together."""
    if metric not in SHARES:
        values = np.concatenate([cell.history[f"{part}_loss"] for cell in cells for part in ("val", "train")])
        if values.max() > 4 * np.median(values):
            axes.set_yscale("log")
    else:
        shares = [cell.history[f"val_{metric}"] for cell in cells if f"val_{metric}" in cell.history]
        final = min(float(values[-1]) for values in shares)
        lowest = min(float(values.min()) for values in shares)
        bottom = max(lowest, 1 - 6 * (1 - final))
        axes.set_ylim(bottom - 0.02 * (1 - bottom), 1 + 0.02 * (1 - bottom))


def save_bars(
    path: Path, rows: Sequence[Row], models: Sequence[str], title: str, metrics: Sequence[str] = BAR_METRICS
) -> None:
    """Metrics as bars with their intervals, a panel each; the axes of shares begin below the lowest."""
    lines = -(-len(metrics) // 3)
    figure = Figure(figsize=(13, lines * (0.34 * len(rows) + 1.1) + 0.6), layout="constrained")
    look = styles(models)
    panels = list(figure.subplots(lines, 3, sharey=True).flat)
    for axes in panels[len(metrics) :]:
        axes.set_visible(False)
    for axes, metric in zip(panels, metrics, strict=False):
        values = [row.values[metric] for row in rows]
        colours = [look[row.model]["color"] for row in rows]
        means = [value.mean for value in values]
        axes.barh([row.model for row in rows], means, color=colours, alpha=0.85,
                  xerr=errors(values), error_kw={"ecolor": "0.25", "capsize": 3})  # fmt: skip
        real = [value for value in values if not np.isnan(value.mean)]
        lowest = min(value.low if value.known else value.mean for value in real)
        highest = max(value.high if value.known else value.mean for value in real)
        start = 0.0 if metric in FROM_ZERO else max(0.0, lowest - 0.15 * (highest - lowest) - 0.002)
        axes.set_xlim(start, highest + max(1e-3, 0.28 * (highest - start)))
        if metric in SHARES:
            axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= 1.0001])
        for place, value in enumerate(values):
            if np.isnan(value.mean):
                continue
            end = value.high if value.known else value.mean
            shown = f"{value.mean:.4f}" if metric in SHARES or metric == "loss" else f"{value.mean:,.0f}"
            axes.text(end + 0.02 * (highest - start), place, shown, va="center", fontsize=9)
        name = metric.upper() if metric == "ece" else metric.replace("_", " ")
        axes.set_title(f"{name}{f', from {start:.3g}' if start else ''}")
        axes.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()  # shared by all
    figure.suptitle(title)
    save(figure, path)


def save_confusions(path: Path, cells: Sequence[ClassifierResult], classes: Sequence[str], title: str) -> None:
    """A confusion matrix a model, added up over seeds: shades are shares of the true class, numbers the mistakes."""
    models = _models(cells)
    columns = min(MATRIX_COLUMNS, len(models))
    lines = -(-len(models) // columns)
    figure = Figure(figsize=(4.6 * columns + 0.6, 4.5 * lines + 0.8), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    image: Any = None
    for axes, model in zip(grid.flat, models, strict=False):
        matrix = confusion([cell for cell in cells if cell.model == model])
        image = _matrix(axes, matrix, classes)
        wrong = int(matrix.sum() - np.trace(matrix))
        axes.set_title(f"{model}: {wrong:,} of {matrix.sum():,} wrong")
    for axes in grid.flat[len(models) :]:
        axes.axis("off")
    figure.supxlabel("predicted")
    figure.supylabel("true")
    figure.colorbar(image, ax=grid, label="share of the true class", shrink=0.6)
    figure.suptitle(title)
    save(figure, path)


def _matrix(axes: Any, matrix: np.ndarray, classes: Sequence[str]) -> Any:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "#b00020" if row != column else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=6.5)
        long = max(map(len, classes)) > 2
        axes.set_xticks(range(len(classes)), classes, rotation=60 if long else 0, ha="right" if long else "center")
        axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(labelsize=7)
    return image


def save_costs(path: Path, rows: Sequence[Row], models: Sequence[str], title: str, metric: str = "accuracy") -> None:
    """A test accuracy against parameters, FLOPs (where counted) and training seconds, with intervals; up and left is
    better."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    look = styles(models)
    costs: dict[str, Callable[[Row], float]] = {
        "parameters": lambda row: row.parameters,
        "FLOPs an image": lambda row: row.flops or np.nan,
        "seconds of training": lambda row: row.values["seconds"].mean,
    }
    if all(row.flops is None for row in rows):
        del costs["FLOPs an image"]
    panels = figure.subplots(1, len(costs), sharey=True)
    for axes, (name, cost) in zip(panels, costs.items(), strict=True):
        for row in rows:
            value = row.values[metric]
            axes.errorbar([cost(row)], [value.mean], yerr=errors([value]), **look[row.model], markersize=9, capsize=3,
                          linestyle="", label=row.model)  # fmt: skip
        axes.set(xlabel=name, xscale="log")
        plain_ticks(axes)
        axes.margins(x=0.15)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"test {metric.replace('_', ' ')}")
    legend(figure, panels[0], "", len(rows))
    figure.suptitle(title)
    save(figure, path)


def plain_ticks(axes: Any) -> None:
    """0.3, 10, 300 k, 1 M instead of powers of ten, few enough not to touch each other."""
    large = EngFormatter()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value < 1000 else large(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def errors(values: Sequence[Interval]) -> np.ndarray:
    """Lengths of error bars `(2, n)`; NaN, which draws nothing, where an interval is not known."""
    pairs = [(max(0.0, value.mean - value.low), max(0.0, value.high - value.mean)) if value.known else (np.nan, np.nan)
             for value in values]  # fmt: skip
    return np.array(pairs).T


def legend(figure: Figure, axes: Any, title: str, entries: int) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, title=title or None, loc="outside lower center", ncols=min(entries, 6), frameon=False
    )


def _models(cells: Sequence[CellResult]) -> list[str]:
    return list(dict.fromkeys(cell.model for cell in cells))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
