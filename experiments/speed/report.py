"""What a benchmark found: tables for a terminal, CSV, and one HTML page."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from experiments.config import BenchmarkConfig
from experiments.reports.page import Section, Table, render
from experiments.reports.tables import to_text
from experiments.reports.text import shown
from experiments.speed.targets import TARGET_COLUMNS, target_lines, target_name, target_rows
from experiments.speed.throughput import LoopVariant, Throughput
from experiments.speed.time_to_accuracy import TargetRun
from experiments.training.speed_trial import Setting

# What of the numbers is shown, and under which titles.
THROUGHPUT_COLUMNS = {
    "batch_size": "batch",
    "images_per_second": "images/s",
    "lowest": "from",
    "highest": "to",
    "to_plain_same_threads": "same threads",
    "to_plain_best": "best plain",
}


@dataclass
class BenchmarkResult:
    """What was measured so far; `auto` is what trainings take by themselves, by device and model."""

    config: BenchmarkConfig
    run_id: str
    throughput: list[Throughput] = field(default_factory=list)
    targets: list[TargetRun] = field(default_factory=list)
    auto: dict[tuple[str, str], LoopVariant] = field(default_factory=dict)

    def table(self) -> str:
        """The result for a terminal."""
        lines = list(map(to_text, _tables(self)))
        if self.targets:
            lines.insert(1, f"\ntraining to validation accuracy {self.targets[0].target:g}")
        return "\n".join([*lines, "", *_notes(self.config), *target_lines(self.targets), *auto_lines(self)])


def best_batch_sizes(measured: Iterable[Throughput]) -> list[Throughput]:
    """Of each device, model and loop variant the batch size with the highest median."""
    groups: dict[Any, list[Throughput]] = {}
    for one in measured:
        groups.setdefault((one.device, one.model, one.variant), []).append(one)
    return [max(group, key=lambda one: one.median) for group in groups.values()]


def ratios(one: Throughput, best: Sequence[Throughput]) -> tuple[float, float]:
    """The speed over that of the plain loop of the same model on the same device, at its best batch size.

    First over that without workers, which has the same threads as ours, then over the faster one: worker processes
    come on top of the threads.
    """
    plain = [
        other for other in best if (other.device, other.model, other.variant.loop) == (one.device, one.model, "plain")
    ]
    same_threads = next(other.median for other in plain if other.variant.workers == 0)
    return one.median / same_threads, one.median / max(other.median for other in plain)


def auto_lines(result: BenchmarkResult) -> list[str]:
    """A line a model on what `auto` takes, and its speed over the best of our settings and over the plain loop.

    At the same batch size: the one at which `auto` is fastest.
    """
    said = []
    for (device, model), variant in result.auto.items():
        mine = [one for one in result.throughput if (one.device, one.model) == (device, model)]
        taken = max((one for one in mine if one.variant == variant), key=lambda one: one.median, default=None)
        if taken is not None:
            equal = [one for one in mine if one.batch_size == taken.batch_size]
            best = max(one.median for one in equal if one.variant.loop == "ours")
            plain = next(one.median for one in equal if one.variant.workers == 0)
            setting = Setting(variant.precision, variant.memory_format, variant.threads or torch.get_num_threads())
            speed = f"{taken.median / best:.2f} times the best setting, {taken.median / plain:.2f} times the plain loop"
            said.append(f"auto takes for {model}, {device}: {setting}, {speed}")
    return said


def throughput_rows(measured: Sequence[Throughput]) -> list[dict[str, Any]]:
    """Every setting, also at batch sizes that are not its best; `measurements` are in the order they were taken."""
    best = best_batch_sizes(measured)
    rows = []
    for one in measured:
        same_threads, plain = ratios(one, best)
        numbers = {
            "device": one.device,
            "model": one.model,
            **one.variant._asdict(),
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
        rows.append(numbers)
    return rows


def _tables(result: BenchmarkResult) -> list[list[dict[str, str]]]:
    """What is shown: each variant at its best batch size, then the trainings to the target, if there are any."""
    measured, runs = result.throughput, result.targets
    best = best_batch_sizes(measured)
    variants = [
        (f"{one.model}, {one.device}: {one.variant}", row)
        for one, row in zip(measured, throughput_rows(measured), strict=True)
        if one in best
    ]
    trained = [(target_name(run), row) for run, row in zip(runs, target_rows(runs), strict=True)]
    return [
        [{"": name, **{title: shown(row[key]) for key, title in columns.items()}} for name, row in rows]
        for rows, columns in ((variants, THROUGHPUT_COLUMNS), (trained, TARGET_COLUMNS))
        if rows
    ]


def page(title: str, result: BenchmarkResult, figures: Mapping[str, Path], facts: Mapping[str, str]) -> str:
    """The whole page, with the figures by their captions."""
    sections = [
        Section(caption, tables=[Table(list(rows[0]), [list(row.values()) for row in rows])], figures=[(caption, file)])
        for (caption, file), rows in zip(figures.items(), _tables(result), strict=True)
    ]
    return render(title, sections, facts, _notes(result.config))


def _notes(config: BenchmarkConfig) -> list[str]:
    """How it was measured."""
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads"
    return [
        f"images/s: median of {config.repeats} x {config.seconds:g} s in turns, on {threads}; each variant at its own "
        f"best batch size of {config.batch_sizes}",
        "same threads, best plain: times as fast as the plain loop without workers, and as that loop at its best",
        *(["time to accuracy: seconds of one training, without loading the data"] if config.target_accuracy else []),
    ]
