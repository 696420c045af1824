"""What trainings to a target accuracy found: tables, and a line for each way to train."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.reports.tables import to_csv
from experiments.reports.text import shown
from experiments.speed.time_to_accuracy import USUAL, TargetRun

CURVE_METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_f1", "learning_rate")
# What of the numbers is shown, and under which titles.
TARGET_COLUMNS = {
    "epochs": "epochs",
    "train_seconds": "training s",
    "seconds": "with eval. s",
    "best_val_accuracy": "best",
    "test_accuracy": "test",
    "outcome": "outcome",
}


class TimeToAccuracy(NamedTuple):
    """Seconds of training until validation accuracy reached the target, and what the test set says then, a seed each.

    `length` is that of the schedule with which every seed got there.
    """

    device: str
    model: str
    precision: str
    recipe: str
    length: int
    seconds: tuple[float, ...]
    test_accuracies: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def times_to_accuracy(runs: Iterable[TargetRun]) -> list[TimeToAccuracy]:
    """The time of every way to train that got there; none of one in which some seed did not."""
    groups: dict[Any, list[TargetRun]] = {}
    for run in runs:
        groups.setdefault((run.device, run.model, run.precision, run.recipe, run.length), []).append(run)
    times: list[TimeToAccuracy] = []
    for group in groups.values():
        if all(run.reached for run in group):
            run = group[0]
            seconds = tuple(run.curve[-1].train_seconds for run in group)
            tested = tuple(run.test_accuracy for run in group if run.test_accuracy is not None)
            times.append(TimeToAccuracy(run.device, run.model, run.precision, run.recipe, run.length, seconds, tested))
    return times


def target_lines(runs: Sequence[TargetRun]) -> list[str]:
    """A line for each way to train that reached the target, and how much longer the usual recipe takes than ours."""
    times = times_to_accuracy(runs)
    lines = []
    for one in times:
        tested = f"test accuracy {statistics.mean(one.test_accuracies):.4f}"
        spread = f"{shown(min(one.seconds))} - {shown(max(one.seconds))}, n={len(one.seconds)}"
        others = [other for other in times if (other.device, other.model, other.recipe) == (*one[:2], USUAL)]
        ratio = f", the usual recipe takes {others[0].median / one.median:.2f} times as long" if others else ""
        lines.append(
            f"{one.model}, {one.device}, {one.precision}, {one.recipe} recipe of {one.length} epochs: "
            f"{runs[0].target:g} after {shown(one.median)} s of training ({spread}), {tested}"
            + (ratio if one.recipe != USUAL else "")
        )
    return lines


def target_name(run: TargetRun) -> str:
    """Which training it is, in a table."""
    return f"{run.model}, {run.device}, {run.precision}, {run.recipe} recipe of {run.length} epochs, seed {run.seed}"


def target_rows(runs: Sequence[TargetRun]) -> list[dict[str, Any]]:
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
            "test_accuracy": run.test_accuracy,
        }
        rows.append(numbers)
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
            **{name: epoch.metrics.get(name) for name in CURVE_METRICS},
        }
        for run in runs
        for epoch in run.curve
    ]
    return to_csv(rows, () if rows else ("device", "model"))


def _identity(run: TargetRun) -> dict[str, object]:
    return {name: getattr(run, name) for name in ("device", "model", "precision", "recipe", "length", "seed")}
