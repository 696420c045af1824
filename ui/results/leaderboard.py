"""What the compare page shows, worked out from finished trainings: which to start from, lines of the leaderboard.

No Streamlit and no MLflow here. A line is one model with one configuration on one data set; trainings that differ in
nothing but their seed share it.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.metrics import METRICS
from tasks.runs.trainings import Curve, FinishedTraining
from ui.plain import inert_cell

# Of the kept epoch on the test images, in the order of the columns.
TESTED = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "f1": "F1", "loss": "Loss"}
FRACTIONS = tuple(name for name in TESTED if METRICS[name].fraction)
COSTS = {"parameters": "Parameters", "seconds": "Seconds", "examples_per_second": "Images/s"}
HISTORY = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds", "examples_per_second")
# Settings that do not make one training another.
NO_MATTER = frozenset({"seed", "register", "resume", "data_dir", "threads", "device", "memory_format"})
# What makes test results of one data set incomparable.
SAME_DATA = {"data_sha256": "files", "split_sha256": "split into training and validation images"}

Curves = Mapping[str, Mapping[str, Curve]]


@dataclass(frozen=True)
class Spread:
    """The mean over the trainings of a line, and the lowest and highest of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A line of the leaderboard.

    Attributes:
        label: the model, with what distinguishes it from other lines.
        runs: its trainings, the best by validation first.
        values: by the names of TESTED and COSTS; what was not logged is left out.
        validation: the best accuracy on the validation images.
    """

    label: str
    model: str
    dataset: str
    runs: tuple[FinishedTraining, ...]
    values: Mapping[str, Spread]
    validation: float

    @property
    def seeds(self) -> int:
        """How many different seeds its trainings had."""
        return len({run.seed for run in self.runs})


def datasets(trainings: Iterable[FinishedTraining]) -> list[str]:
    """Names of data sets; that of the newest training first."""
    return list(dict.fromkeys(training.dataset for training in trainings))


def validation(training: FinishedTraining, curves: Curves) -> float:
    """Accuracy of the kept epoch on the validation images; NaN if it was not logged."""
    curve = curves.get(training.run_id, {}).get("val_accuracy", {})
    return curve.get(training.best_epoch, max(curve.values(), default=math.nan))


def best_of_each_model(trainings: Iterable[FinishedTraining], curves: Curves) -> list[str]:
    """Run ids: of each model on each data set, the best training by validation; of equals the newest."""
    best: dict[tuple[str, str], FinishedTraining] = {}
    for one in trainings:
        key = (one.dataset, one.model)
        if key not in best or _rank(one, curves) > _rank(best[key], curves):
            best[key] = one
    return [one.run_id for one in best.values()]


def _rank(training: FinishedTraining, curves: Curves) -> tuple[float, float]:
    reached = validation(training, curves)
    return (-math.inf if math.isnan(reached) else reached, training.started.timestamp())


def lines(
    chosen: Sequence[FinishedTraining], curves: Curves, counts: Mapping[str, int | None], *, each_run: bool = False
) -> list[Line]:
    """The leaderboard, the best test accuracy first.

    Args:
        counts: parameters of the networks by run id.
        each_run: one line a training, whatever its seed.
    """
    groups: dict[tuple[Any, ...], list[FinishedTraining]] = {}
    for one in chosen:
        key = (one.dataset, one.model, _configuration(one), one.run_id if each_run else "")
        groups.setdefault(key, []).append(one)
    labels = _labels(list(groups.values()), each_run)
    found = []
    for group, label in zip(groups.values(), labels, strict=True):
        runs = tuple(sorted(group, key=lambda one: _rank(one, curves), reverse=True))
        found.append(
            Line(
                label, runs[0].model, runs[0].dataset, runs, _values(runs, curves, counts), validation(runs[0], curves)
            )
        )
    return sorted(found, key=lambda line: -line.values["accuracy"].mean if "accuracy" in line.values else math.inf)


def _configuration(training: FinishedTraining) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in training.settings.items() if name not in NO_MATTER))


def _labels(groups: Sequence[Sequence[FinishedTraining]], each_run: bool) -> list[str]:
    """A name for each line, all of them different: the model, and only what is needed to tell it from the others."""
    several = len({group[0].dataset for group in groups}) > 1
    words = []
    for group in groups:
        first = group[0]
        rivals = [other[0] for other in groups if (other[0].model, other[0].dataset) == (first.model, first.dataset)]
        differing = sorted(
            {
                name
                for rival in rivals
                for name in {*rival.settings, *first.settings} - NO_MATTER
                if rival.settings.get(name) != first.settings.get(name)
            }
        )
        parts = [f"{first.model} on {first.dataset}" if several else first.model]
        parts += [f"{name} {first.settings.get(name, 'not logged')}" for name in differing[:3]]
        parts += [f"seed {first.seed}"] if each_run and len(rivals) > 1 else []
        words.append(", ".join(parts))
    return [
        word if words.count(word) == 1 else f"{word}, run {group[0].run_id[:6]}"
        for word, group in zip(words, groups, strict=True)
    ]


def _values(runs: Sequence[FinishedTraining], curves: Curves, counts: Mapping[str, int | None]) -> dict[str, Spread]:
    measured: dict[str, list[float]] = {
        name: [run.metrics.get(f"test_{name}", math.nan) for run in runs] for name in TESTED
    }
    measured["parameters"] = [_number(counts.get(run.run_id)) for run in runs]
    measured["seconds"] = [seconds(run, curves) for run in runs]
    measured["examples_per_second"] = [
        statistics.median(speeds.values()) if (speeds := _curve(run, curves, "examples_per_second")) else math.nan
        for run in runs
    ]
    there = {name: [value for value in values if math.isfinite(value)] for name, values in measured.items()}
    return {
        name: Spread(statistics.fmean(values), min(values), max(values)) for name, values in there.items() if values
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _curve(run: FinishedTraining, curves: Curves, metric: str) -> Curve:
    return curves.get(run.run_id, {}).get(metric, {})


def seconds(run: FinishedTraining, curves: Curves) -> float:
    """Time of all epochs with their validation, without tracking and tests; NaN if it was not logged."""
    epochs = _curve(run, curves, "epoch_seconds")
    return sum(epochs.values()) if epochs else math.nan


def table(found: Sequence[Line], link: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows for a table: shares in percent, texts made harmless for spreadsheets, what is missing as None.

    Args:
        link: addresses of MLflow's page of a run, by run id.
    """
    rows = []
    several = any(len(line.runs) > 1 for line in found)
    for line in found:
        row: dict[str, Any] = {"Model": inert_cell(line.label)}
        if several:
            row["Seeds"] = line.seeds
        row["Validation"] = None if math.isnan(line.validation) else 100 * line.validation
        for name, title in {**TESTED, **COSTS}.items():
            spread, factor = line.values.get(name), 100 if name in FRACTIONS else 1
            row[title] = None if spread is None else factor * spread.mean
            if name == "accuracy" and several:
                row["Lowest"], row["Highest"] = (100 * spread.low, 100 * spread.high) if spread else (None, None)
        epochs = line.runs[0].settings.get("epochs", "")
        row["Epochs"] = int(epochs) if epochs.isdigit() else None
        row["MLflow"] = link[line.runs[0].run_id]
        rows.append(row)
    return rows


def unlike(chosen: Iterable[FinishedTraining]) -> list[str]:
    """Warnings of results that are not comparable: trainings of one data set that did not have the same data."""
    found = []
    chosen = list(chosen)
    for dataset in datasets(chosen):
        mine = [one for one in chosen if one.dataset == dataset]
        reasons = [words for tag, words in SAME_DATA.items() if len({one.tags.get(tag) for one in mine}) > 1]
        if reasons:
            found.append(f"These trainings on {dataset} did not have the same {' and '.join(reasons)}.")
    return found


def curve_points(found: Sequence[Line], curves: Curves, metric: str, parts: Iterable[str]) -> list[dict[str, Any]]:
    """Points of the curves of `loss` or `accuracy`: a row an epoch, of each training and each of `parts`.

    Args:
        parts: of "training" and "validation".
    """
    prefix = {"training": "train", "validation": "val"}
    points = []
    for line in found:
        for run in line.runs:
            spent, passed = 0.0, {}
            for epoch, taken in _curve(run, curves, "epoch_seconds").items():
                spent += taken
                passed[epoch] = spent
            for part in parts:
                curve = _curve(run, curves, f"{prefix[part]}_{metric}")
                apart = max(1, math.ceil(len(curve) / 8))  # a few marks a line are enough to know it by their shape
                points += [
                    {
                        "model": line.label,
                        "seed": run.seed,
                        "run": f"{run.run_id}-{part}",
                        "part": part,
                        "epoch": epoch,
                        "seconds": passed.get(epoch),
                        "value": value,
                        "kept": epoch == run.best_epoch,
                        "marked": epoch == run.best_epoch or number % apart == 0,
                    }
                    for number, (epoch, value) in enumerate(curve.items())
                    if math.isfinite(value)
                ]
    return points
