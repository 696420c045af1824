"""The report of a comparison: reads the finished runs, draws, writes CSV and one HTML page, logs all to the parent."""

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from experiments import comparison_plots as plots
from experiments.comparison import METRICS, CellResult, Interval, leaderboard, leading, paired_tests
from experiments.comparison_analysis import analyse
from experiments.comparison_page import Section, page
from experiments.grid import Cell, Grid
from experiments.tracking import Tracker
from tasks.runs import artifact_file, metric_values, open_store

PAGE = "reports/comparison.html"
HISTORY = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds", "examples_per_second")


@dataclass(frozen=True)
class CompareResult:
    """What came out of a comparison; `sections` holds the leaderboard and the findings of each data set."""

    run_id: str
    sections: tuple[Section, ...]
    failures: Mapping[Cell, str]
    page_uri: str

    def table(self) -> str:
        """The result for a terminal."""
        lines = [line for section in self.sections for line in (*_text_table(section), "", *section.analysis, "")]
        lines += [f"FAILED {cell}: {reason}" for cell, reason in self.failures.items()]
        return "\n".join([*lines, f"report: {self.page_uri}"])


def report(grid: Grid, tracker: Tracker, runs: Mapping[Cell, Any], failures: Mapping[Cell, str]) -> CompareResult:
    """Write and log the report of the finished runs, and sum it up on the parent run."""
    cells = [_read(cell, runs[cell]) for cell in grid.cells if cell in runs]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sections = []
        for dataset in grid.data:
            mine = [cell for cell in cells if cell.dataset == dataset]
            if mine:
                sections.append(_section(folder / "plots", grid, dataset, mine))
        (folder / "reports").mkdir()
        _write_tables(folder / "reports", sections, cells)
        title = f"Comparison: {grid.title}"
        facts = _facts(grid, tracker, runs)
        failed = {str(cell): reason for cell, reason in failures.items()}
        (folder / PAGE).write_text(page(title, sections, facts, failed), encoding="utf-8")
        tracker.log_files(folder)
    uri = (open_store().get_run(tracker.run_id).info.artifact_uri or "").removeprefix("file://")
    result = CompareResult(tracker.run_id, tuple(sections), failures, f"{uri}/{PAGE}")
    tracker.describe(_description(grid, result), {"cells_failed": str(len(failures))})
    return result


def _read(cell: Cell, run: Any) -> CellResult:
    client = open_store()
    history = {key: np.array(metric_values(client, run.info.run_id, key)) for key in HISTORY}
    with artifact_file(client, run, "reports/test_predictions.npz") as path, np.load(path) as saved:
        labels, probabilities = saved["labels"], saved["probabilities"]
    test = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
    best = int(run.data.tags["best_epoch"])
    return CellResult(*cell, run.info.run_id, test, history, best, labels, probabilities)


def network_cost(model: str, num_classes: int, channels: int) -> tuple[int, int]:
    """Parameters, and FLOPs of one 32 x 32 image through the network.

    Counted by torch's FlopCounterMode, without computing anything: convolutions and matrix products only, and a
    multiplication with its addition as two.
    """
    with torch.device("meta"), torch.no_grad():
        network = models.build(model, num_classes, channels).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, channels, 32, 32))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


def _section(folder: Path, grid: Grid, dataset: str, cells: Sequence[CellResult]) -> Section:
    """Numbers, findings and figures of one data set."""
    data = grid.data[dataset]
    names = list(dict.fromkeys(cell.model for cell in cells))
    rows = leaderboard(cells, {name: network_cost(name, len(data.classes), data.channels) for name in names})
    paired = paired_tests(cells)
    seeds = max(len(row.seeds) for row in rows)
    over = f"{dataset}, {seeds} seed{'s' if seeds > 1 else ''}"
    file = {kind: folder / f"{dataset}_{kind}.png" for kind in ("loss", "accuracy", "metrics", "confusion", "cost")}
    for metric in ("loss", "accuracy"):
        plots.save_curves(file[metric], cells, metric, f"{metric} on {over}")
    bars = "mean test metrics" + (" with 95 % intervals" if any(row.values["accuracy"].known for row in rows) else "")
    plots.save_bars(file["metrics"], rows, names, f"{bars}: {over}")
    by_rank = sorted(cells, key=lambda cell: [row.model for row in rows].index(cell.model))
    plots.save_confusions(file["confusion"], by_rank, data.classes, f"test images of {over}")
    plots.save_costs(file["cost"], rows, names, f"accuracy against cost: {over}; bars are 95 % intervals")
    captions = {
        "accuracy": "Accuracy by epoch and by time",
        "loss": "Loss by epoch and by time; training loss may include label smoothing, validation loss does not",
        "metrics": "Test metrics",
        "cost": "Accuracy against cost: up and left is better",
        "confusion": "Confusion matrices, added up over seeds; mistakes in red",
    }
    figures = tuple((captions[kind], file[kind].read_bytes()) for kind in captions)
    analysis = tuple(analyse(rows, paired, cells, data.classes))
    return Section(dataset, tuple(rows), tuple(paired), analysis, figures)


def _facts(grid: Grid, tracker: Tracker, runs: Mapping[Cell, Any]) -> dict[str, str]:
    """What a reader must know to judge the numbers."""
    tags = next(iter(runs.values())).data.tags
    config = grid.config
    facts = {
        "parent run": tracker.run_id,
        "commit": tags.get("git_commit", "unknown"),
        "machines": "; ".join(sorted({run.data.tags.get("hardware", "unknown") for run in runs.values()})),
        "precision": ", ".join(sorted({run.data.params.get("precision", "?") for run in runs.values()})),
        "epochs": "as each recipe says" if config.epochs is None else str(config.epochs),
    }
    for name, data in grid.data.items():
        shas = {run.data.tags.get("data_sha256", "?")[:12] for cell, run in runs.items() if cell.dataset == name}
        facts[name] = f"{data.train:,} training, {data.val:,} validation, {data.test:,} test images; SHA-256 " \
                      f"{' and '.join(sorted(shas)) or '?'}..."  # fmt: skip
    return facts


def _write_tables(folder: Path, sections: Sequence[Section], cells: Sequence[CellResult]) -> None:
    bounds = [f"{metric}{part}" for metric in METRICS for part in ("", "_low", "_high")]
    header = ["dataset", "model", "seeds", "parameters", "flops", "accuracy_interval", *bounds]
    lines = [[row.dataset, row.model, " ".join(map(str, row.seeds)), row.parameters, row.flops,
              row.values["accuracy"].method, *(x for m in METRICS for x in _numbers(row.values[m]))]
             for section in sections for row in section.rows]  # fmt: skip
    (folder / "leaderboard.csv").write_text(_csv(header, lines))
    each = [
        [c.dataset, c.model, c.seed, c.run_id, c.best_epoch, *(f"{c.value(m):.6g}" for m in METRICS)] for c in cells
    ]
    (folder / "cells.csv").write_text(_csv(["dataset", "model", "seed", "run_id", "best_epoch", *METRICS], each))
    header = ["dataset", "a", "b", "seed", "only_a_right", "only_b_right", "p", "p_holm"]
    tests = [[s.dataset, t.a, t.b, t.seed, t.only_a, t.only_b, f"{t.p:.6g}", f"{t.adjusted_p:.6g}"]
             for s in sections for t in s.paired]  # fmt: skip
    (folder / "mcnemar.csv").write_text(_csv(header, tests))
    curves = [[c.dataset, c.model, c.seed, epoch + 1, *(f"{c.history[key][epoch]:.6g}" for key in HISTORY)]
              for c in cells for epoch in range(len(c.history["val_loss"]))]  # fmt: skip
    (folder / "curves.csv").write_text(_csv(["dataset", "model", "seed", "epoch", *HISTORY], curves))
    texts = {section.dataset: list(section.analysis) for section in sections}
    (folder / "analysis.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")


def _numbers(value: Interval) -> tuple[str, str, str]:
    low, high = (f"{x:.6g}" if value.known else "" for x in (value.low, value.high))
    return f"{value.mean:.6g}", low, high


def _csv(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue()


def _text_table(section: Section) -> list[str]:
    _, tied, _ = leading(section.rows)
    lines = [f"{section.dataset}, test images; = is not distinguishable from the best (intervals overlap)",
             f"{'':18}{'accuracy':>27}{'f1':>9}{'loss':>9}{'ECE':>9}{'parameters':>13}{'MFLOPs':>10}{'seconds':>10}"
             f"{'images/s':>10}"]  # fmt: skip
    for row in section.rows:
        v = row.values
        accuracy = v["accuracy"]
        shown = f"{accuracy.mean:.4f} [{accuracy.low:.4f}, {accuracy.high:.4f}]"
        mark = "= " if row in tied else "  "
        lines.append(f"{mark}{row.model:16}{shown:>27}{v['f1'].mean:9.4f}{v['loss'].mean:9.4f}{v['ece'].mean:9.4f}"
                     f"{row.parameters:13,}{row.flops / 1e6:10,.1f}{v['seconds'].mean:10,.1f}"
                     f"{v['examples_per_second'].mean:10,.0f}")  # fmt: skip
    return lines


def _description(grid: Grid, result: CompareResult) -> str:
    parts = [f"**compare {grid.title}**: {len(grid.cells) - len(result.failures)} of {len(grid.cells)} trainings "
             f"finished. The whole report is the artifact `{PAGE}`."]  # fmt: skip
    for section in result.sections:
        parts += [f"### {section.dataset}", *section.analysis]
    parts += [f"FAILED {cell}: {reason}" for cell, reason in result.failures.items()]
    return "\n\n".join(parts)
