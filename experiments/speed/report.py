"""What a benchmark found: tables for a terminal, CSV, and one HTML page."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.config import BenchmarkConfig
from experiments.reports.page import Section, Table, render
from experiments.reports.tables import to_csv, to_text
from experiments.speed.throughput import Throughput
from experiments.speed.time_to_accuracy import TargetRun

CURVE_METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_f1", "learning_rate")
# What of the numbers is shown, and under which titles.
THROUGHPUT_COLUMNS = {
    "batch_size": "batch",
    "images_per_second": "images/s",
    "lowest": "from",
    "highest": "to",
    "to_plain_same_threads": "same threads",
    "to_plain_best": "best plain",
}
TARGET_COLUMNS = {
    "epochs": "epochs",
    "train_seconds": "training s",
    "seconds": "with eval. s",
    "best_val_accuracy": "best",
    "outcome": "outcome",
}
Named = tuple[str, dict[str, Any]]  # what a row is called, and its numbers


def best_batch_sizes(measured: Iterable[Throughput]) -> list[Throughput]:
    """Of each device, model and way to train the batch size with the highest median."""
    groups: dict[Any, list[Throughput]] = {}
    for one in measured:
        groups.setdefault((one.device, one.model, one.way), []).append(one)
    return [max(group, key=lambda one: one.median) for group in groups.values()]


def ratios(one: Throughput, best: Sequence[Throughput]) -> tuple[float, float]:
    """The speed over that of the plain loop of the same model on the same device, at its best batch size.

    First over that without workers, which has the same threads as ours, then over the faster one: worker processes
    come on top of the threads.
    """
    plain = [other for other in best if (other.device, other.model, other.way.loop) == (one.device, one.model, "plain")]
    same_threads = next(other.median for other in plain if other.way.workers == 0)
    return one.median / same_threads, one.median / max(other.median for other in plain)


def shown(speed: float) -> str:
    """A number with the digits that matter: 12,345 but 12.3 and 1.23."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:#.3g}"


def throughput_rows(measured: Sequence[Throughput]) -> list[Named]:
    """Every setting, also at batch sizes that are not its best; `measurements` are in the order they were taken."""
    best = best_batch_sizes(measured)
    rows = []
    for one in measured:
        same_threads, plain = ratios(one, best)
        numbers = {
            "device": one.device,
            "model": one.model,
            **one.way._asdict(),
            "batch_size": one.batch_size,
            "images_per_second": one.median,
            "lowest": min(one.speeds),
            "highest": max(one.speeds),
            "n": len(one.speeds),
            "best_batch_size": one in best,
            "to_plain_same_threads": same_threads,
            "to_plain_best": plain,
            "measurements": " ".join(f"{speed:.6g}" for speed in one.speeds),
        }
        rows.append((f"{one.model}, {one.device}: {one.way}", numbers))
    return rows


def target_rows(runs: Sequence[TargetRun]) -> list[Named]:
    """Every training; `epochs` and the seconds are until the target was reached or the training ended."""
    rows = []
    for run in runs:
        last = run.curve[-1] if run.curve else None
        numbers = {
            **_identity(run),
            "target_accuracy": run.target,
            "reached": run.reached,
            "outcome": run.outcome,
            "epochs": last.number if last else 0,
            "images": last.images if last else 0,
            "train_seconds": last and last.train_seconds,
            "seconds": last and last.seconds,
            "best_val_accuracy": run.best and run.best.val_accuracy,
            "best_epoch": run.best and run.best.number,
        }
        rows.append((f"{run.model}, {run.device}, {run.precision}", numbers))
    return rows


def curves_csv(runs: Sequence[TargetRun]) -> str:
    """One row an epoch of every training; seconds count from its start."""
    rows = [
        {
            **_identity(run),
            "epoch": epoch.number,
            "images": epoch.images,
            "train_seconds": epoch.train_seconds,
            "seconds": epoch.seconds,
            **{name: epoch.metrics[name] for name in CURVE_METRICS},
        }
        for run in runs
        for epoch in run.curve
    ]
    return to_csv(rows, () if rows else ("device", "model"))


def _identity(run: TargetRun) -> dict[str, object]:
    return {"device": run.device, "model": run.model, "precision": run.precision, "seed": run.seed}


def csv(rows: Sequence[Named]) -> str:
    """All numbers."""
    return to_csv([numbers for _, numbers in rows])


def _throughput_table(measured: Sequence[Throughput]) -> list[dict[str, str]]:
    """Each way at its best batch size."""
    return _table([row for row in throughput_rows(measured) if row[1]["best_batch_size"]], THROUGHPUT_COLUMNS)


def _table(rows: Sequence[Named], columns: Mapping[str, str]) -> list[dict[str, str]]:
    """Some of the numbers, to be shown."""
    return [{"": name, **{title: _text(numbers[key]) for key, title in columns.items()}} for name, numbers in rows]


def _text(value: object) -> str:
    return "–" if value is None else shown(value) if isinstance(value, float) else str(value)


def notes(config: BenchmarkConfig) -> list[str]:
    """How it was measured."""
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads"
    return [
        f"images/s: median of {config.repeats} x {config.seconds:g} s in turns, on {threads}; each way at its own best "
        f"batch size of {config.batch_sizes}",
        "same threads, best plain: times the speed of the plain loop without workers, and of it at its best",
        "time to accuracy: one training each, in seconds; loading data and building the network do not count",
    ]


def text_table(measured: Sequence[Throughput], runs: Sequence[TargetRun], config: BenchmarkConfig) -> str:
    """The result for a terminal."""
    lines = [to_text(_throughput_table(measured))]
    if runs:
        lines += ["", f"training to validation accuracy {runs[0].target:g}, seed {runs[0].seed}"]
        lines.append(to_text(_table(target_rows(runs), TARGET_COLUMNS)))
    return "\n".join([*lines, "", *notes(config)])


def page(
    title: str,
    figures: Mapping[str, Path],
    measured: Sequence[Throughput],
    runs: Sequence[TargetRun],
    facts: Mapping[str, str],
    config: BenchmarkConfig,
) -> str:
    """The whole page, with the figures by their captions."""
    tables = [_throughput_table(measured), *([_table(target_rows(runs), TARGET_COLUMNS)] if runs else [])]
    sections = [
        Section(caption, tables=[Table(list(rows[0]), [list(row.values()) for row in rows])], figures=[(caption, file)])
        for (caption, file), rows in zip(figures.items(), tables, strict=True)
    ]
    return render(title, sections, facts, notes(config))
