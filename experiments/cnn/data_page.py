"""The report on own pictures as files of a run: JSON, a figure with pictures of every class, a page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.data.images import Subset
from experiments.data.report import SAMPLE_COLUMNS, SAMPLE_ROWS, Copy, DataReport, counts_table
from experiments.reports.figures import panels, plain, save
from experiments.reports.page import Section, Table, render

NAME = "data_report"
SIDE = 1.1  # of a picture, in inches
MOST_ROWS = 100  # of duplicates and of files that are left out; the JSON has more


def write_data_report(folder: Path, report: DataReport, train: Subset, mistakes: Any) -> None:
    """`reports/data_report.json` and `.html`, and `plots/data_sample.png`, under `folder`.

    Args: mistakes: the test pictures that the network got wrong, as `mistakes_table` gives them.
    """
    reports, figure = folder / "reports", folder / "plots" / "data_sample.png"
    for parent in (reports, figure.parent):
        parent.mkdir(parents=True, exist_ok=True)
    (reports / f"{NAME}.json").write_text(json.dumps(report.as_json(), indent=1) + "\n")
    save_sample(figure, train, tuple(report.counts))
    # Names of files may be no Unicode.
    (reports / f"{NAME}.html").write_text(_page(report, figure, mistakes), encoding="utf-8", errors="replace")


def save_sample(path: Path, train: Subset, classes: tuple[str, ...]) -> None:
    """The first training pictures of the first classes, a row each."""
    labels = train.labels.cpu().numpy()
    shown = np.unique(labels)[:SAMPLE_ROWS]
    figure, axes = panels(len(shown), 1, SAMPLE_COLUMNS * SIDE, 1.25 * SIDE)
    for panel, label in zip(axes, shown, strict=True):
        index = torch.from_numpy(np.flatnonzero(labels == label)[:SAMPLE_COLUMNS]).to(train.labels.device)
        strip = np.concatenate(list(train.take(index).permute(0, 2, 3, 1).cpu().numpy()), axis=1)
        panel.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=255)
        panel.set_title(plain(classes[int(label)]), fontsize=9, loc="left")
        panel.axis("off")
    save(figure, path)


def _page(report: DataReport, figure: Path, mistakes: Any) -> str:
    counts = counts_table(report)
    tables = [Table(list(counts[0]), [[str(value) for value in row.values()] for row in counts])]
    sections = [
        Section("Warnings", report.warnings or ["None."]),
        Section("Pictures by class", tables=tables),
        Section("Sample", figures=[("The first training pictures of each class", figure)]),
    ]
    if len(mistakes):
        rows = mistakes.head(MOST_ROWS).astype(str).to_numpy().tolist()
        first = "Test pictures that the network got wrong, the most confident first: some labels may be wrong."
        sections.append(Section("Mistakes", [first], tables=[Table(list(mistakes.columns), rows, wide=True)]))
    if report.duplicates:
        rows = [
            [", ".join(copy.file for copy in group), *(_all(group, name) for name in ("label", "part"))]
            for group in report.duplicates[:MOST_ROWS]
        ]
        sections.append(Section("The same picture", tables=[Table(["files", "labels", "parts"], rows, wide=True)]))
    if report.left_out:
        left_out = [[path, why] for path, why in report.left_out[:MOST_ROWS]]
        sections.append(Section("Files left out", tables=[Table(["file", "why"], left_out, wide=True)]))
    sizes = {f"{name} file": f"{width} x {height}" for name, (width, height) in report.sizes.items()}
    facts = {"source": report.origin, "resized to": f"{report.image_size} x {report.image_size}", **sizes}
    facts["channels"] = str(report.channels)
    return render(
        f"Data: {report.name}", sections, facts, ["Pictures are the same if their pixels are, after resizing."]
    )


def _all(group: list[Copy], name: str) -> str:
    return ", ".join(dict.fromkeys(getattr(copy, name) or "unused" for copy in group))
