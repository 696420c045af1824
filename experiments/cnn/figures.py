"""Figures of a classifier: what it confuses, its most confident mistakes, where it looks, its filters, its calibration.

Each from plain arrays to a PNG file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from experiments.reports.figures import plain, save, single

MISTAKES_SHOWN = 24
MISTAKES_COLUMNS = 8
BINS = 15


def save_grad_cam(path: Path, images: np.ndarray, heat: np.ndarray, captions: Sequence[str]) -> None:
    """Pictures above, the same with their Grad-CAM map below.

    `images` is uint8 `(n, h, w, channels)`, `heat` float `(n, h, w)` from 0 to 1.
    """
    size, gap = images.shape[1], images.shape[1] // 8
    gray = images.mean(axis=3) / 255
    colors = colormaps["inferno"](heat)[..., :3]
    overlaid = 0.45 * gray[..., None] + 0.55 * colors
    originals = np.broadcast_to(images / 255, (*gray.shape, 3))
    canvas = np.ones((2 * size + gap, len(images) * (size + gap), 3))
    figure = Figure(figsize=(1.25 * len(images), 3.2))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.76))
    for place, caption in enumerate(captions):
        left = place * (size + gap)
        canvas[:size, left : left + size] = originals[place]
        canvas[size + gap :, left : left + size] = overlaid[place]
        axes.text(left + size / 2, -2, plain(caption), ha="center", va="bottom", fontsize=8)
    axes.imshow(canvas, aspect="auto")
    axes.axis("off")
    figure.suptitle("Test images, and the evidence for the predicted class (Grad-CAM: bright = much)", fontsize=10)
    save(figure, path)


def save_filters(path: Path, filters: np.ndarray, title: str) -> None:
    """The first convolution's filters `(n, channels, h, w)`; one gray level is zero, the same in all."""
    count, channels, height, width = filters.shape
    columns = min(16, count)
    rows = -(-count // columns)
    limit = np.abs(filters).max()
    shades = (filters if channels == 3 else filters[:, :1]) / (2 * limit) + 0.5
    canvas = np.ones((rows * (height + 1), columns * (width + 1), 3))
    for index, shade in enumerate(shades):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        canvas[top : top + height, left : left + width] = shade.transpose(1, 2, 0)
    figure, axes = single(0.55 * columns + 0.6, 0.55 * rows + 0.9)
    axes.imshow(canvas)
    axes.axis("off")
    axes.set_title(plain(title), fontsize=9)
    save(figure, path)


def save_calibration(path: Path, labels: np.ndarray, probabilities: np.ndarray, error: float, title: str) -> None:
    """Reliability curve: how often answers of a confidence are right, and how many there are of each."""
    from sklearn.calibration import calibration_curve

    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    share_right, mean_confidence = calibration_curve(right, confidence, n_bins=BINS)
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], ":", color="0.5", label="as often right as it says")
    upper.plot(mean_confidence, share_right, "o-", label=f"this network, ECE {error:.3f}")
    upper.set(ylabel="fraction that is right", title=plain(title), xlim=(0, 1), ylim=(0, 1.02))
    upper.grid(alpha=0.3)
    upper.legend(loc="upper left")
    lower.hist(confidence, bins=BINS, range=(0, 1), color="0.6")
    lower.set(xlabel="confidence (highest probability)", ylabel="images", yscale="log")
    save(figure, path)


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the wrong answers that the figure of mistakes shows."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]])][:MISTAKES_SHOWN]


def save_mistakes(
    path: Path,
    images: np.ndarray,
    shown: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """The wrong answers given with the highest confidence, as pictures.

    Args:
        images: uint8 `(n, h, w, channels)`, of the answers `shown`.
        labels, probabilities: of all answers.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = int((predicted != labels).sum())
    rows = max(1, -(-len(shown) // MISTAKES_COLUMNS))
    # One picture with captions: a grid of axes would take ten times as long to draw.
    size, cell = images.shape[1], images.shape[1] * 46 // 32
    mosaic = np.full((rows * cell, MISTAKES_COLUMNS * cell, 3), 255, np.uint8)
    figure = Figure(figsize=(12, 1.5 * rows + 0.6))
    axes = figure.add_axes((0.01, 0.01, 0.98, 1 - 0.5 / (1.5 * rows + 0.6)))
    for place, index in enumerate(shown):
        top = place // MISTAKES_COLUMNS * cell + size * 12 // 32
        left = place % MISTAKES_COLUMNS * cell + size * 7 // 32
        mosaic[top : top + size, left : left + size] = images[place]
        said, truth = classes[int(predicted[index])], classes[int(labels[index])]
        caption = f"{said} {probabilities[index].max():.0%}\nis {truth}"
        axes.text(left + size / 2, top - 1, plain(caption), ha="center", va="bottom", fontsize=8)
    axes.imshow(mosaic, aspect="auto")
    axes.axis("off")
    figure.suptitle(f"{wrong} of {len(labels)} test images are wrong; the most confident mistakes")
    save(figure, path)
