"""Figures of a sequence-to-sequence training: attention maps, their animation, accuracy by length."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.data.sequences import Sequences
from experiments.reports.figures import save, single
from models.seq2seq import BOS, EOS, SPECIALS

FRAME_MILLISECONDS = 700
LAST_FRAME_MILLISECONDS = 3000
TICK_LABELS = 40  # more than so many symbols along an axis are not written out


def token_text(token: int) -> str:
    """A token as people know it: the symbol's number, or which end of a sequence it marks."""
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


def save_lengths(path: Path, accuracy: Mapping[int, float], trained: int, title: str) -> None:
    """Accuracy by length of sequence, with the longest trained length marked."""
    figure, axes = single(7, 4.5)
    lengths = sorted(accuracy)
    axes.plot(lengths, [accuracy[length] for length in lengths], "o-", color="#0072B2")
    axes.axvline(trained, color="0.5", linestyle=":", label=f"longest in training: {trained}")
    axes.set(
        xlabel="length of the sequence", ylabel="share reversed without a mistake", title=title, ylim=(-0.03, 1.03)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)
