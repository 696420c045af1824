"""Figures of encoder-decoders: attention maps, their animation, accuracy by length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.data.sequences import Sequences
from experiments.reports.figures import legend, panels, save, single, styles
from experiments.reports.statistics import Interval
from models.seq2seq import BOS, EOS, SPECIALS

FRAME_MILLISECONDS = 700
LAST_FRAME_MILLISECONDS = 3000
TICK_LABELS = 40  # the most symbols along an axis that are labeled


def token_text(token: int) -> str:
    """The symbol's number, or which end of a sequence a token marks."""
    return {BOS: "start", EOS: "end"}.get(token, str(token - SPECIALS))


def save_attention(path: Path, pairs: Sequences, attention: np.ndarray, title: str) -> None:
    """Attention of some pairs `(n, steps, source)`, with the position that is right for each symbol marked."""
    figure = Figure(figsize=(5.4 * len(pairs) + 0.8, 5.6), layout="constrained")
    image: Any = None
    for row, axes in enumerate(figure.subplots(1, len(pairs), squeeze=False).flat):
        length = int(pairs.lengths[row])
        source = [token_text(token) for token in pairs.source[row, :length].tolist()]
        target = [token_text(token) for token in pairs.target[row, : length - 1].tolist()]
        image = axes.imshow(attention[row, : length - 1, :length], cmap="viridis", vmin=0, vmax=1)
        steps = np.arange(length - 2)
        axes.plot(
            length - 2 - steps,
            steps,
            "s",
            color="white",
            markerfacecolor="none",
            markersize=110 / length,
            markeredgewidth=0.7,
            label="where the symbol is",
        )
        if length <= TICK_LABELS:
            axes.set_xticks(range(length), source, rotation=90, fontsize=7)
            axes.set_yticks(range(length - 1), target, fontsize=7)
        axes.set(xlabel="source", ylabel="target, in the order of writing" if row == 0 else "")
    figure.colorbar(image, ax=figure.axes, label="attention", shrink=0.8)
    figure.suptitle(f"{title}\nwhite squares: where the symbol to be written stands")
    save(figure, path, dpi=90)


def save_animation(path: Path, frames: Sequence[Path]) -> None:
    """The figures in `frames` as one animation that stops for a while at the last."""
    images = [Image.open(frame).convert("RGB") for frame in frames]
    size = images[-1].size
    small = [image.resize(size).quantize(128) for image in images]
    durations = [FRAME_MILLISECONDS] * (len(small) - 1) + [LAST_FRAME_MILLISECONDS]
    path.parent.mkdir(parents=True, exist_ok=True)
    small[0].save(path, save_all=True, append_images=small[1:], duration=durations, loop=0)


def save_lengths(path: Path, lengths: Mapping[str, Mapping[int, Interval]], trained: int, title: str) -> None:
    """Fraction of sequences reversed without a mistake by length: a curve a variant, its interval as a band."""
    figure, axes = single(11, 5.6)
    look = styles(list(lengths))
    for model, points in lengths.items():
        x, y = list(points), list(points.values())
        axes.plot(x, [value.mean for value in y], **look[model], markersize=5, label=model)
        if all(value.known for value in y):
            low, high = [value.low for value in y], [min(1.0, value.high) for value in y]
            axes.fill_between(x, low, high, color=look[model]["color"], alpha=0.1, linewidth=0)
    axes.axvline(trained, color="0.4", linestyle=":")
    axes.text(trained, 1.045, "longest in training", ha="center", va="bottom", fontsize=9, color="0.3")
    axes.set(
        xlabel="length of the sequence (logarithmic)", ylabel="fraction reversed without a mistake", ylim=(-0.03, 1.04)
    )
    axes.set_xscale("log")
    ticks = sorted({n for points in lengths.values() for n in points})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    legend(figure, axes)
    figure.suptitle(title)
    save(figure, path)


def save_attention_maps(path: Path, cells: Sequence[Any]) -> None:
    """Attention `(steps, source)` over the first example, a panel a variant, of its first seed."""
    first: dict[str, Any] = {}
    for cell in cells:
        first.setdefault(cell.model, cell)
    figure, grid = panels(len(first), 4, 3.6, 3.7, (0.8, 0.6))
    image: Any = None
    for axes, (model, cell) in zip(grid, first.items(), strict=True):
        length = int((cell.example[0] != 0).sum())  # without padding
        attention, source = cell.attention[0, : length - 1, :length], cell.example[0, :length]
        image = axes.imshow(attention, cmap="viridis", vmin=0, vmax=1)
        axes.set_title(f"{model}: alignment {cell.value('alignment'):.2f}", fontsize=10)
        axes.set_xticks(range(length), [token_text(token) for token in source.tolist()], rotation=90, fontsize=5)
        axes.set_yticks([])
    figure.supxlabel("source")
    figure.supylabel("steps of the decoder, from the top")
    figure.colorbar(image, ax=grid, label="attention", shrink=0.6)
    figure.suptitle("attention over one validation sequence;\nright is the falling diagonal from the upper right")
    save(figure, path)
