"""Figures of a benchmark."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.reports.figures import Bars, plain_ticks, save, save_bars, single, styles
from experiments.reports.statistics import Interval
from experiments.reports.text import shown
from experiments.speed.report import best_batch_sizes, ratios
from experiments.speed.targets import target_name
from experiments.speed.throughput import Throughput
from experiments.speed.time_to_accuracy import TargetRun


def save_throughput(path: Path, measured: Sequence[Throughput], title: str) -> None:
    """Images per second of every variant at its best batch size, a panel a model and device.

    Lines reach from the lowest to the highest measurement; the numbers are the medians and their ratio to the plain
    loop without workers.
    """
    best = best_batch_sizes(measured)
    names = list(dict.fromkeys(str(one.variant) for one in best))
    panels = []
    for device, model in dict.fromkeys((one.device, one.model) for one in best):
        mine = {str(one.variant): one for one in best if (one.device, one.model) == (device, model)}
        plain = next(one.median / ratios(one, best)[0] for one in mine.values())
        values = [
            Interval(mine[name].median, min(mine[name].speeds), max(mine[name].speeds))
            if name in mine
            else Interval(math.nan)
            for name in names
        ]
        show = partial(_speed, plain)
        panels.append(Bars(f"{model}, {device}: images per second", values, show))
    save_bars(path, names, panels, styles(names), title)


def _speed(plain: float, speed: float) -> str:
    return f"{shown(speed)} ({speed / plain:.1f}x)"


def save_targets(path: Path, runs: Sequence[TargetRun], title: str) -> None:
    """Validation accuracy against seconds of training, a line a training; a star where the target was reached."""
    figure, axes = single(9, 5.5)
    look = styles(list(dict.fromkeys(run.model for run in runs)))
    dashes = dict(
        zip(
            dict.fromkeys((run.device, run.precision, run.recipe) for run in runs),
            ("-", "--", ":", "-.") * 2,
            strict=False,
        )
    )
    for run in runs:
        if not run.curve:
            continue
        style: dict[str, Any] = {**look[run.model], "linestyle": dashes[run.device, run.precision, run.recipe]}
        seconds = [epoch.train_seconds for epoch in run.curve]
        accuracy = [epoch.val_accuracy for epoch in run.curve]
        axes.plot(seconds, accuracy, **style, markersize=4, label=target_name(run))
        if run.reached:
            axes.plot(seconds[-1], accuracy[-1], "*", color=style["color"], markersize=14)
    axes.axhline(runs[0].target, color="0.4", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    plain_ticks(axes)
    axes.set(xlabel="seconds of training, without evaluation", ylabel="validation accuracy", title=title)
    axes.grid(alpha=0.3)
    if any(run.curve for run in runs):
        axes.legend(fontsize=8)
    save(figure, path)
