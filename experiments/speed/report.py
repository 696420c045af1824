"""What a benchmark found, as lines for a terminal and as CSV."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from experiments.config import BenchmarkConfig
from experiments.speed.throughput import Throughput
from experiments.speed.time_to_accuracy import TargetRun


def best_batch_sizes(measured: Iterable[Throughput]) -> list[Throughput]:
    """Of each device, model and way to train the batch size with the highest median."""
    groups: dict[Any, list[Throughput]] = {}
    for one in measured:
        groups.setdefault((one.device, one.model, one.way), []).append(one)
    return [max(group, key=lambda one: one.median) for group in groups.values()]


def ratios(one: Throughput, best: Sequence[Throughput]) -> tuple[float, float]:
    """How many times as fast as the plain loop of the same model on the same device, at its best batch size.

    First to that without workers, which has the same threads as ours, then to the faster one: worker processes come
    on top of the threads.
    """
    plain = [other for other in best if (other.device, other.model, other.way.loop) == (one.device, one.model, "plain")]
    same_threads = next(other.median for other in plain if other.way.workers == 0)
    return one.median / same_threads, one.median / max(other.median for other in plain)


def shown(speed: float) -> str:
    """A speed with the digits that matter: 12,345 but 12.3 and 1.23."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:#.3g}"


def throughput_table(measured: Sequence[Throughput], config: BenchmarkConfig) -> list[str]:
    """Medians and spread of every way at its best batch size, and the ratios to the plain loop."""
    best = best_batch_sizes(measured)
    titles = {"batch": 6, "images/s": 10, "from": 9, "to": 9, "same threads": 14, "best plain": 12}
    names = {one: f"{one.model}, {one.device}: {one.way}" for one in best}
    width = max(map(len, names.values()))
    lines = [" " * width + "".join(f"{title:>{columns}}" for title, columns in titles.items())]
    for one in best:
        same_threads, plain = ratios(one, best)
        median, lowest, highest = (shown(speed) for speed in (one.median, min(one.speeds), max(one.speeds)))
        lines.append(f"{names[one]:{width}}{one.batch_size:6}{median:>10}{lowest:>9}{highest:>9}"
                     f"{same_threads:14.2f}{plain:12.2f}")  # fmt: skip
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads"
    lines.append(f"images/s: median of {config.repeats} x {config.seconds:g} s in turns, on {threads}; "
                 f"each way at its own best batch size of {config.batch_sizes}")  # fmt: skip
    lines.append("ratios: to the plain loop without workers, and to it at its best")
    return lines


def throughput_csv(measured: Sequence[Throughput]) -> str:
    """Every setting, also at batch sizes that are not its best; `measurements` are in the order they were taken."""
    best = best_batch_sizes(measured)
    rows = []
    for one in measured:
        same_threads, plain = ratios(one, best)
        rows.append({
            "device": one.device,
            "model": one.model,
            "loop": one.way.loop,
            "precision": one.way.precision,
            "memory_format": one.way.memory_format,
            "workers": "" if one.way.workers is None else one.way.workers,
            "batch_size": one.batch_size,
            "images_per_second": f"{one.median:.2f}",
            "lowest": f"{min(one.speeds):.2f}",
            "highest": f"{max(one.speeds):.2f}",
            "n": len(one.speeds),
            "best_batch_size": str(one in best).lower(),
            "to_plain_same_threads": f"{same_threads:.3f}",
            "to_plain_best": f"{plain:.3f}",
            "measurements": " ".join(f"{speed:.2f}" for speed in one.speeds),
        })  # fmt: skip
    return _csv(rows)


def target_table(runs: Sequence[TargetRun]) -> list[str]:
    """One line a training: when it reached the target, or why not and how far it came."""
    names = [f"{run.model}, {run.device}, {run.precision}" for run in runs]
    width = max(map(len, names))
    target, seed = runs[0].target, runs[0].seed
    lines = [f"training to validation accuracy {target:g} (one training each, seed {seed})",
             f"{'':{width}}{'epochs':>8}{'training s':>12}{'with eval. s':>14}{'best':>9}  outcome"]  # fmt: skip
    for name, run in zip(names, runs, strict=True):
        last, best = (run.curve[-1], run.best) if run.curve else (None, None)
        figures = f"{'-':>8}{'-':>12}{'-':>14}{'-':>9}"
        if last and best:
            figures = f"{last.number:8}{last.train_seconds:12.1f}{last.seconds:14.1f}{best.val_accuracy:9.4f}"
        lines.append(f"{name:{width}}{figures}  {run.outcome}")
    lines.append("seconds until the training ended; loading data and building the network do not count")
    return lines


def target_csv(runs: Sequence[TargetRun]) -> str:
    """One row a training; `epochs` and the seconds are until the target was reached or the training ended."""
    rows = []
    for run in runs:
        last, best = (run.curve[-1], run.best) if run.curve else (None, None)
        rows.append({
            **_identity(run),
            "target_accuracy": run.target,
            "reached": str(run.reached).lower(),
            "outcome": run.outcome,
            "epochs": last.number if last else 0,
            "images": last.images if last else 0,
            "train_seconds": f"{last.train_seconds:.3f}" if last else "",
            "seconds": f"{last.seconds:.3f}" if last else "",
            "best_val_accuracy": f"{best.val_accuracy:.6f}" if best else "",
            "best_epoch": best.number if best else "",
        })  # fmt: skip
    return _csv(rows)


CURVE_METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_f1", "learning_rate")


def curves_csv(runs: Sequence[TargetRun]) -> str:
    """One row an epoch of every training; seconds count from its start."""
    rows = [
        {
            **_identity(run),
            "epoch": epoch.number,
            "images": epoch.images,
            "train_seconds": f"{epoch.train_seconds:.3f}",
            "seconds": f"{epoch.seconds:.3f}",
            **{name: f"{epoch.metrics[name]:.6g}" for name in CURVE_METRICS},
        }
        for run in runs
        for epoch in run.curve
    ]
    return _csv(rows)


def _identity(run: TargetRun) -> dict[str, Any]:
    return {"device": run.device, "model": run.model, "precision": run.precision, "seed": run.seed}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
