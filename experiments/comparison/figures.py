"""Figures of a comparison: one color and marker a model, the same in all of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix

from experiments.comparison.results import (
    CellResult,
    ClassifierResult,
    Findings,
    models_of,
    shown,
)
from experiments.reports import figures
from experiments.reports.figures import Bars, legend, panels, plain_ticks, save, styles
from experiments.reports.statistics import Interval
from tasks.metrics import record

COSTS = {"seconds", "examples_per_second"}  # which have a figure of their own


def save_curves(
    path: Path, cells: Sequence[CellResult], metric: str, title: str, items: str, training: str = "augmented"
) -> None:
    """A metric of validation (solid) and training (dashed, where there is one) against epochs and against seconds, mean
    over seeds; a training that ended early keeps its last value.

    Args:
        items: what an example of training is called.
        training: what is different in training.
    """
    figure, (by_epoch, by_second) = panels(2, 2, 6.4, 4.6, sharey=True)
    look = styles(models_of(cells))
    for model, style in look.items():
        mine = [cell for cell in cells if cell.model == model]
        seconds = _together([cell.history["epoch_seconds"].cumsum() for cell in mine])
        _curve(by_epoch, np.arange(1, seconds.shape[1] + 1), mine, metric, style)
        _curve(by_second, seconds.mean(axis=0), mine, metric, style)
    epoch = cells[0].examples // len(cells[0].history["val_loss"])
    by_epoch.set(xlabel=f"epoch of {epoch:,} training {items}", ylabel=metric.replace("_", " "), title="by epoch")
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    by_second.set(xlabel="seconds of training", title="by time")
    by_second.set_xscale("log")
    plain_ticks(by_second)
    for axes in (by_epoch, by_second):
        axes.grid(alpha=0.3)
        _limit(axes, cells, metric)
    dashed = f"   dashed: training, {training}" if any(f"train_{metric}" in cell.history for cell in cells) else ""
    legend(figure, by_epoch, f"solid: validation (band: lowest to highest seed){dashed}")
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
    color, marker = style["color"], style["marker"]
    every = max(1, len(x) // 8)
    axes.plot(x, values.mean(axis=0), color=color, marker=marker, markevery=every, markersize=5, label=cells[0].model)
    if all(f"train_{metric}" in cell.history for cell in cells):
        train = _together([cell.history[f"train_{metric}"] for cell in cells]).mean(axis=0)
        axes.plot(x, train, color=color, linestyle="--", linewidth=1, alpha=0.6, marker=marker if len(x) < 3 else None)
    if len(cells) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def _limit(axes: Any, cells: Sequence[CellResult], metric: str) -> None:
    """Give room to where the curves end: the first wild epochs would press the rest together."""
    if not record(metric).fraction:
        values = np.concatenate([cell.history[f"{part}_loss"] for cell in cells for part in ("val", "train")])
        if values.max() > 4 * np.median(values):
            axes.set_yscale("log")
    else:
        shares = [cell.history[f"val_{metric}"] for cell in cells if f"val_{metric}" in cell.history]
        final = min(float(values[-1]) for values in shares)
        lowest = min(float(values.min()) for values in shares)
        bottom = min(0.99, max(lowest, 1 - 6 * (1 - final)))  # perfect ones have room too
        axes.set_ylim(bottom - 0.02 * (1 - bottom), 1 + 0.02 * (1 - bottom))


def save_bars(path: Path, findings: Findings, models: Sequence[str]) -> None:
    """Test metrics as bars with their intervals; the axes of fractions begin below the lowest."""
    rows = findings.rows
    bars = []
    for metric in findings.metrics:
        values = [row.values[metric] for row in rows]
        if metric not in COSTS and not all(np.isnan(value.mean) for value in values):
            known = record(metric)
            highest = 1.0001 if known.fraction else np.inf
            bars.append(Bars(known.title, values, partial(shown, metric), known.lower_is_better, highest))
    title = f"mean test metrics, with 95 % intervals where known: {findings.over}"
    figures.save_bars(path, [row.model for row in rows], bars, styles(models), title)


def save_costs(path: Path, findings: Findings, models: Sequence[str]) -> None:
    """The deciding metric against parameters, FLOPs (where counted), examples and seconds; up and left is better."""
    rows, metric = findings.rows, findings.metrics[0]
    costs = {"parameters": {row.model: Interval(row.parameters) for row in rows}}
    if rows[0].flops is not None:
        costs["FLOPs per image"] = {row.model: Interval(row.flops or np.nan) for row in rows}
    costs[f"training {findings.items} seen"] = {row.model: Interval(row.examples) for row in rows}
    costs["seconds of training"] = {row.model: Interval(row.values["seconds"].mean) for row in rows}
    title = f"accuracy against cost: {findings.over}; bars are 95 % intervals"
    values = {row.model: row.values[metric] for row in rows}
    figures.save_costs(path, values, costs, styles(models), f"test {metric.replace('_', ' ')}", title)


def save_confusions(path: Path, cells: Sequence[ClassifierResult], classes: Sequence[str], title: str) -> None:
    """A confusion matrix a model, added up over seeds."""
    models = models_of(cells)
    figure, grid = panels(len(models), 3, 4.6, 4.5, (0.6, 0.8))
    image: Any = None
    for axes, model in zip(grid, models, strict=True):
        mine = [cell for cell in cells if cell.model == model]
        true, said = (np.concatenate([getattr(cell, name) for cell in mine]) for name in ("answers", "predicted"))
        matrix = confusion_matrix(true, said, labels=range(len(classes)))
        image = figures.confusion(axes, matrix, classes, size=6.5)
        wrong = int(matrix.sum() - np.trace(matrix))
        axes.set_title(f"{model}: {wrong:,} of {matrix.sum():,} wrong")
    figure.supxlabel("predicted")
    figure.supylabel("true")
    figure.colorbar(image, ax=grid, label="fraction of the true class", shrink=0.6)
    figure.suptitle(title)
    save(figure, path)
