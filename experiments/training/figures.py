"""Figures, each from plain arrays to a PNG file. No pyplot: figures here share no global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

CURVE_LABELS = {"train": "training (augmented)", "val": "validation"}
COLOURS = {"train": "#1f77b4", "val": "#d95f02", "test": "#222222"}
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
    epochs = np.arange(1, len(history) + 1)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    marker = "o" if len(history) < 3 else None
    for part, label in labels.items():
        values = [metrics[f"{part}_{metric}"] for metrics in history]
        axes.plot(epochs, values, color=COLOURS[part], label=label, marker=marker)
    axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
    axes.plot([best], [test], "*", color=COLOURS["test"], markersize=12, label=f"test: {test:.4f}")
    axes.set(xlabel="epoch", ylabel=metric, title=title, xlim=(min(1, best) - 0.02 * len(history), len(history) * 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def save_validation(path: Path, history: list[dict[str, float]], metrics: Sequence[str], title: str, best: int) -> None:
    """Several shares measured on validation data by epoch, with the kept epoch marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    marker = "o" if len(history) < 3 else None
    for metric in metrics:
        values = [epoch[f"val_{metric}"] for epoch in history]
        axes.plot(range(1, len(history) + 1), values, marker=marker, label=metric.replace("_", " "))
    axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
    axes.set(xlabel="epoch", ylabel="share of validation data", title=title, ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def save_confusion_matrix(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Counts (rows: true class, columns: predicted), shaded by the share of the row."""
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=45 if max(map(len, classes)) > 2 else 0, ha="center")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, label="share of the true class")
    _save(figure, path)


def save_per_class(path: Path, report: dict[str, dict[str, float]], classes: Sequence[str], title: str) -> None:
    """Precision, recall and F1 of every class as bars; the axis begins a little below the lowest."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    positions, width = np.arange(len(classes)), 0.27
    for offset, metric in enumerate(("precision", "recall", "f1-score")):
        values = [report[name][metric] for name in classes]
        axes.bar(positions + (offset - 1) * width, values, width, label=metric)
    lowest = min(report[name][metric] for name in classes for metric in ("precision", "recall", "f1-score"))
    axes.set_ylim(max(0.0, np.floor(lowest * 20) / 20 - 0.05), 1.0)
    axes.set_xticks(positions, classes, rotation=30 if max(map(len, classes)) > 2 else 0)
    axes.set(xlabel="class", title=title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
    _save(figure, path)


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
        axes.text(left + size / 2, top - 1, caption, ha="center", va="bottom", fontsize=8)
    axes.imshow(mosaic, aspect="auto")
    axes.axis("off")
    figure.suptitle(f"{len(wrong)} of {len(labels)} test images are wrong; the most confident mistakes")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
