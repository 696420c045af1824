"""Figures of a comparison of encoder-decoders: accuracy by length, and where each variant looks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.comparison.results import CellResult
from experiments.reports.figures import legend, panels, save, single, styles
from experiments.reports.statistics import Interval


def save_lengths(
    path: Path, lengths: Mapping[str, Mapping[int, Interval]], models: Sequence[str], trained: int, title: str
) -> None:
    """Fraction of sequences reversed without a mistake by length: a curve a variant, its interval as a band."""
    figure, axes = single(11, 5.6)
    look = styles(models)
    for model in models:
        points = lengths[model]
        x = list(points)
        color, marker = look[model]["color"], look[model]["marker"]
        axes.plot(x, [points[n].mean for n in x], color=color, marker=marker, markersize=5, label=model)
        if all(points[n].known for n in x):
            axes.fill_between(
                x,
                [points[n].low for n in x],
                [min(1.0, points[n].high) for n in x],
                color=color,
                alpha=0.1,
                linewidth=0,
            )
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


def save_attention_maps(path: Path, cells: Sequence[Any], specials: int) -> None:
    """Attention `(steps, source)` over the first example, a panel a variant, of its first seed."""
    first: dict[str, CellResult] = {}
    for cell in cells:
        first.setdefault(cell.model, cell)
    figure, grid = panels(len(first), 4, 3.6, 3.7, (0.8, 0.6))
    image: Any = None
    for axes, (model, cell) in zip(grid, first.items(), strict=True):
        attention, source = _of_first(cell)
        image = axes.imshow(attention, cmap="viridis", vmin=0, vmax=1)
        axes.set_title(f"{model}: alignment {cell.value('alignment'):.2f}", fontsize=10)
        axes.set_xticks(
            range(len(source)),
            ["start", *(str(token - specials) for token in source[1:-1]), "end"],
            rotation=90,
            fontsize=5,
        )
        axes.set_yticks([])
    figure.supxlabel("source")
    figure.supylabel("steps of the decoder, from the top")
    figure.colorbar(image, ax=grid, label="attention", shrink=0.6)
    figure.suptitle("attention over one validation sequence;\nright is the falling diagonal from the upper right")
    save(figure, path)


def _of_first(cell: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first example's attention and source, without padding."""
    source = cell.example[0]
    length = int((source != 0).sum())
    return cell.attention[0, : length - 1, :length], source[:length]
