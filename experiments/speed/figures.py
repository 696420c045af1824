"""Figures of a benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.comparison.figures import styles
from experiments.speed.report import best_batch_sizes, ratios, shown
from experiments.speed.throughput import Throughput, Way
from experiments.speed.time_to_accuracy import TargetRun

# One colour for a loop and its arithmetic (Okabe and Ito); the paler bar is the first of a pair.
COLOURS = {"plain": "#7f7f7f", "fp32": "#0072B2", "bf16": "#D55E00", "fp16": "#009E73"}
BAR_INCHES = 0.24


def save_throughput(path: Path, measured: Sequence[Throughput], title: str) -> None:
    """Images per second of every way at its best batch size, on a logarithmic axis: a panel a device, a group a model.

    Lines reach from the lowest to the highest measurement; the numbers are the medians and their ratio to the plain
    loop without workers.
    """
    best = best_batch_sizes(measured)
    where = list(dict.fromkeys(one.device for one in best))
    bars = [sum(one.device == device for one in best) + _models(best, device) for device in where]
    figure = Figure(figsize=(10, BAR_INCHES * sum(bars) + 1.2 + 0.8 * len(where)), layout="constrained")
    panels = figure.subplots(len(where), 1, sharex=True, squeeze=False, height_ratios=bars)[:, 0]
    for axes, device in zip(panels, where, strict=True):
        _panel(axes, [one for one in best if one.device == device], best)
        axes.set_title(device, loc="left")
    panels[-1].set_xlabel("images per second of training (and times the plain loop without workers)")
    speeds = [speed for one in best for speed in one.speeds]
    # Bars on a logarithmic axis begin anywhere: at half of the least, with room for the numbers at the right.
    span = np.log(max(speeds) / min(speeds) * 2)
    panels[0].set_xlim(min(speeds) / 2, max(speeds) * np.exp(0.25 * span + 0.1))
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {label: bar for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title)
    _save(figure, path)


def _models(best: Sequence[Throughput], device: str) -> int:
    return len({one.model for one in best if one.device == device})


def _panel(axes: Any, mine: Sequence[Throughput], best: Sequence[Throughput]) -> None:
    place, ticks = 0, {}
    for model in dict.fromkeys(one.model for one in mine):
        group = [one for one in mine if one.model == model]
        ticks[model] = place + (len(group) - 1) / 2
        for one in group:
            spread = [[one.median - min(one.speeds)], [max(one.speeds) - one.median]]
            axes.barh(place, one.median, 0.85, xerr=spread, label=str(one.way), **_look(one.way),
                      error_kw={"elinewidth": 1})  # fmt: skip
            axes.annotate(f"{shown(one.median)}  ({ratios(one, best)[0]:.1f}x)", (max(one.speeds), place), (4, 0),
                          textcoords="offset points", va="center", fontsize=8)  # fmt: skip
            place += 1
        place += 1
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(list(ticks.values()), list(ticks))
    axes.set_ylim(place - 1.5, -0.5)
    axes.grid(axis="x", alpha=0.3)


def _look(way: Way) -> dict[str, Any]:
    first = way.workers == 0 or (way.loop == "ours" and way.memory_format == "contiguous")
    return {"color": COLOURS["plain" if way.loop == "plain" else way.precision], "alpha": 0.55 if first else 1.0}


def save_targets(path: Path, runs: Sequence[TargetRun], title: str) -> None:
    """Validation accuracy against seconds of training, a line a training; a star where the target was reached."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    look = styles(list(dict.fromkeys(run.model for run in runs)))
    dashes = dict(zip(dict.fromkeys((run.device, run.precision) for run in runs), ("-", "--", ":", "-.") * 2,
                      strict=False))  # fmt: skip
    for run in runs:
        if not run.curve:
            continue
        style: dict[str, Any] = {**look[run.model], "linestyle": dashes[run.device, run.precision]}
        seconds = [epoch.train_seconds for epoch in run.curve]
        accuracy = [epoch.val_accuracy for epoch in run.curve]
        axes.plot(seconds, accuracy, **style, markersize=4, label=f"{run.model}, {run.device}, {run.precision}")
        if run.reached:
            axes.plot(seconds[-1], accuracy[-1], "*", color=style["color"], markersize=14)
    axes.axhline(runs[0].target, color="0.4", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="seconds of training, without evaluation", ylabel="validation accuracy", title=title)
    axes.grid(alpha=0.3)
    if any(run.curve for run in runs):
        axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
