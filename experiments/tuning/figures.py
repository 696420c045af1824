"""Figures of a study, each from finished trials to a PNG file. No pyplot: figures here share no global state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from experiments.reports.figures import panels, save, single
from experiments.tuning.job import Job
from experiments.tuning.space import Choice, Range, Space, shown
from experiments.tuning.study import FINISHED

COMPLETE, PRUNED, BEST = "#1f77b4", "#999999", "#d95f02"


@dataclass(frozen=True)
class Point:
    """A finished trial: its value is that of its best epoch."""

    number: int
    value: float
    complete: bool
    params: Mapping[str, Any]


def _points(trials: Sequence[FrozenTrial]) -> list[Point]:
    return [
        Point(one.number, max(one.intermediate_values.values()), one.state == TrialState.COMPLETE, one.params)
        for one in trials
        if one.state in FINISHED and one.intermediate_values
    ]


def draw(
    folder: Path,
    job: Job,
    trials: Sequence[FrozenTrial],
    importance: dict[str, float],
    over: str,
    recipe: FrozenTrial | None,
) -> list[tuple[str, Path]]:
    """The figures as files, and with their captions."""
    points = _points(trials)
    metric, name = job.metric.replace("val_", "validation ").replace("_", " "), job.config.study
    reference = recipe.value if recipe is not None and recipe.state == TrialState.COMPLETE else None
    files = {"Optimization history": folder / "optimization_history.png"}
    save_history(files["Optimization history"], points, metric, reference, name)
    if importance:
        files["Parameter importance"] = folder / "parameter_importance.png"
        save_importance(files["Parameter importance"], importance, f"{name}: {over}")
    files |= {
        "Slices: values by each parameter alone": folder / "slices.png",
        "Parallel coordinates: one line a trial": folder / "parallel_coordinates.png",
    }
    save_slices(folder / "slices.png", points, job.space, metric, name)
    save_parallel(folder / "parallel_coordinates.png", points, job.space, metric, name)
    return list(files.items())


def save_history(path: Path, points: Sequence[Point], metric: str, recipe: float | None, title: str) -> None:
    """Values by trial, the best so far, and the recipe's own value."""
    figure, axes = single(7.5, 4.5)
    _scatter(axes, [point.number for point in points], points)
    complete = [point for point in points if point.complete]
    best = np.maximum.accumulate([point.value for point in complete])
    axes.step([point.number for point in complete], best, where="post", color=BEST, label="best so far")
    if recipe is not None:
        axes.axhline(recipe, color="0.4", linestyle=":", label=f"recipe: {recipe:.4f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=metric, title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    save(figure, path)


def save_importance(path: Path, importance: Mapping[str, float], title: str) -> None:
    """Fractions of the variance that each parameter explains, the largest on top."""
    figure, axes = single(7, 1.2 + 0.4 * len(importance))
    names = list(importance)[::-1]
    bars = axes.barh(names, [importance[name] for name in names], color=COMPLETE)
    axes.bar_label(bars, fmt=" %.2f")
    axes.set(
        xlabel="fraction of the variance explained (fANOVA)", xlim=(0, 1.1 * max(importance.values())), title=title
    )
    save(figure, path)


def save_slices(path: Path, points: Sequence[Point], space: Space, metric: str, title: str) -> None:
    """Values by each parameter alone."""
    figure, grid = panels(len(space), 4, 3.2, 2.8, (0.0, 0.4), sharey=True)
    for axes, (name, part) in zip(grid, space.items(), strict=True):
        _scatter(axes, [_place(part, point.params[name]) for point in points], points)
        if isinstance(part, Choice):
            axes.set_xticks(range(len(part.values)), [shown(value) for value in part.values])
            axes.set_xlim(-0.5, len(part.values) - 0.5)
        elif part.log:
            low, high = int(np.floor(np.log10(part.low))), int(np.ceil(np.log10(part.high)))
            ticks = [power for power in range(low, high + 1) if part.low <= 10.0**power <= part.high]
            axes.set_xticks(ticks, [f"1e{power}" for power in ticks])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=isinstance(part.low, int)))
        if isinstance(part, Range):
            low, high = _place(part, part.low), _place(part, part.high)
            axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    for axes in grid[::4]:
        axes.set_ylabel(metric)
    grid[0].legend(fontsize=7)
    figure.suptitle(title)
    save(figure, path)


def save_parallel(path: Path, points: Sequence[Point], space: Space, metric: str, title: str) -> None:
    """Every trial as a line through its settings, colored by its value, the best on top."""
    figure, axes = single(1.6 * len(space) + 3, 4.5)
    ordered = sorted(points, key=lambda point: point.value)
    heights = [[_share(part, point.params[name]) for name, part in space.items()] for point in ordered]
    lines = [np.column_stack([range(len(space)), height]) for height in heights]
    collection = LineCollection(lines, cmap="viridis", linewidths=1.6, alpha=0.85)
    collection.set_array(np.array([point.value for point in ordered]))
    axes.add_collection(collection)
    for place, part in enumerate(space.values()):
        axes.axvline(place, color="0.8", zorder=0)
        for value in part.values if isinstance(part, Choice) else (part.low, part.high):
            axes.text(place, _share(part, value), f" {shown(value)}", fontsize=8, va="center")
    axes.set_xticks(range(len(space)), list(space), rotation=20)
    axes.set_yticks([])
    axes.set(xlim=(-0.2, len(space) - 0.6), ylim=(-0.06, 1.06), title=title)
    figure.colorbar(collection, label=metric)
    save(figure, path)


def _scatter(axes: Any, xs: Sequence[float], points: Sequence[Point]) -> None:
    for complete, style in (
        (False, {"marker": "x", "c": PRUNED, "label": "pruned"}),
        (True, {"marker": "o", "c": COMPLETE, "label": "complete"}),
    ):
        chosen = [index for index, point in enumerate(points) if point.complete == complete]
        if chosen:
            axes.scatter([xs[index] for index in chosen], [points[index].value for index in chosen], s=22, **style)


def _place(part: Range | Choice, value: Any) -> float:
    """Where a value stands on a parameter's axis."""
    if isinstance(part, Choice):
        return part.values.index(value)
    return float(np.log10(value)) if part.log else float(value)


def _share(part: Range | Choice, value: Any) -> float:
    """Where a value stands between the ends of a parameter's axis, 0 to 1."""
    if isinstance(part, Choice):
        return part.values.index(value) / (len(part.values) - 1)
    low, high = _place(part, part.low), _place(part, part.high)
    return (_place(part, value) - low) / (high - low)
