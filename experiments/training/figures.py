"""Figures, each from plain arrays to a PNG file. No pyplot: figures here share no global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reports.figures import confusion, plain, save, single

CURVE_LABELS = {"train": "training (augmented)", "val": "validation"}
COLORS = {"train": "#1f77b4", "val": "#d95f02", "test": "#222222"}
MISTAKES_SHOWN = 24
MISTAKES_COLUMNS = 8


def save_curves(
    path: Path,
    history: list[dict[str, float]],
    metric: str,
    title: str,
    best: int,
    test: float,
    labels: Mapping[str, str] = CURVE_LABELS,
) -> None:
    """A metric of training and validation by epoch, with the kept epoch and its test value marked."""
    figure, axes = single(7, 4.5)
    for part, label in labels.items():
        _curve(axes, history, f"{part}_{metric}", label=label, color=COLORS[part])
    axes.plot([best], [test], "*", color=COLORS["test"], markersize=12, label=f"test: {test:.4f}")
    axes.set(ylabel=metric, xlim=(min(1, best) - 0.02 * len(history), len(history) * 1.02))
    _finish(figure, axes, path, title, best)


def save_validation(path: Path, history: list[dict[str, float]], metrics: Sequence[str], title: str, best: int) -> None:
    """Several fractions measured on validation data by epoch, with the kept epoch marked."""
    figure, axes = single(7, 4.5)
    for metric in metrics:
        _curve(axes, history, f"val_{metric}", label=metric.replace("_", " "))
    axes.set(ylabel="fraction of validation data", ylim=(-0.03, 1.03))
    _finish(figure, axes, path, title, best)


def _curve(axes: Any, history: list[dict[str, float]], metric: str, **look: str) -> None:
    values = [epoch[metric] for epoch in history]
    axes.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 3 else None, **look)


def _finish(figure: Figure, axes: Any, path: Path, title: str, best: int) -> None:
    axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
    axes.set(xlabel="epoch", title=plain(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def save_confusion_matrix(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Counts (rows: true class, columns: predicted), shaded by the fraction of the row."""
    figure, axes = single(7.5, 6.5)
    image = confusion(axes, matrix, classes)
    axes.set(xlabel="predicted", ylabel="true", title=plain(title))
    figure.colorbar(image, label="fraction of the true class")
    save(figure, path)


def save_per_class(path: Path, report: dict[str, dict[str, float]], classes: Sequence[str], title: str) -> None:
    """Precision, recall and F1 of every class as bars; the axis begins a little below the lowest."""
    figure, axes = single(9, 4.5)
    positions, width = np.arange(len(classes)), 0.27
    for offset, metric in enumerate(("precision", "recall", "f1-score")):
        values = [report[name][metric] for name in classes]
        axes.bar(positions + (offset - 1) * width, values, width, label=metric)
    lowest = min(report[name][metric] for name in classes for metric in ("precision", "recall", "f1-score"))
    axes.set_ylim(max(0.0, np.floor(lowest * 20) / 20 - 0.05), 1.0)
    axes.set_xticks(positions, [plain(name) for name in classes], rotation=30 if max(map(len, classes)) > 2 else 0)
    axes.set(xlabel="class", title=plain(title))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
    save(figure, path)


def save_mistakes(
    path: Path, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> None:
    """The wrong answers given with the highest confidence, as pictures; `images` is uint8 `(n, h, w, channels)`."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-probabilities[wrong, predicted[wrong]])][:MISTAKES_SHOWN]
    rows = max(1, -(-len(shown) // MISTAKES_COLUMNS))
    # One picture with captions: a grid of axes would take ten times as long to draw.
    size, cell = images.shape[1], images.shape[1] + 14
    mosaic = np.full((rows * cell, MISTAKES_COLUMNS * cell, 3), 255, np.uint8)
    figure = Figure(figsize=(12, 1.5 * rows + 0.6))
    axes = figure.add_axes((0.01, 0.01, 0.98, 1 - 0.5 / (1.5 * rows + 0.6)))
    for place, index in enumerate(shown):
        top, left = place // MISTAKES_COLUMNS * cell + 12, place % MISTAKES_COLUMNS * cell + 7
        mosaic[top : top + size, left : left + size] = images[index]
        said, truth = classes[int(predicted[index])], classes[int(labels[index])]
        caption = f"{said} {probabilities[index].max():.0%}\nis {truth}"
        axes.text(left + size / 2, top - 1, plain(caption), ha="center", va="bottom", fontsize=8)
    axes.imshow(mosaic, aspect="auto")
    axes.axis("off")
    figure.suptitle(f"{len(wrong)} of {len(labels)} test images are wrong; the most confident mistakes")
    save(figure, path)
