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

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell
from experiments.comparison.page import TITLES, Section, page, places
from experiments.comparison.results import CellResult, Interval, leading
from experiments.tracking.run import Tracker
from tasks.runs import metric_values, open_store

PAGE = "reports/comparison.html"
# Too much for the width of a terminal; the page has them.
LEFT_OUT = {"precision", "recall"}


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
    cells = [_read(grid, cell, runs[cell]) for cell in grid.cells if cell in runs]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sections = []
        for dataset in grid.data:
            mine = [cell for cell in cells if cell.dataset == dataset]
            if mine:
                sections.append(grid.kind.section(folder / "plots", grid.data[dataset], dataset, mine))
        (folder / "reports").mkdir()
        _write_tables(folder / "reports", grid, sections, cells)
        title = f"Comparison: {grid.title}"
        facts = _facts(grid, tracker, runs)
        failed = {str(cell): reason for cell, reason in failures.items()}
        (folder / PAGE).write_text(page(title, sections, facts, failed, grid.kind.notes), encoding="utf-8")
        tracker.log_files(folder)
    uri = (open_store().get_run(tracker.run_id).info.artifact_uri or "").removeprefix("file://")
    result = CompareResult(tracker.run_id, tuple(sections), failures, f"{uri}/{PAGE}")
    tracker.describe(_description(grid, result), {"cells_failed": str(len(failures))})
    return result


def _read(grid: Grid, cell: Cell, run: Any) -> CellResult:
    client = open_store()
    histories = {key: np.array(metric_values(client, run.info.run_id, key)) for key in grid.kind.history}
    return grid.kind.read(cell, run, {key: values for key, values in histories.items() if len(values)})


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
        facts[name] = (
            f"{data.train:,} training, {data.val:,} validation, {data.test:,} test {grid.kind.items}; SHA-256 "
            f"{' and '.join(sorted(shas)) or '?'}..."
        )
    return facts


def _write_tables(folder: Path, grid: Grid, sections: Sequence[Section], cells: Sequence[CellResult]) -> None:
    metrics, main = grid.kind.metrics, grid.kind.metric
    bounds = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high")]
    header = ["dataset", "model", "seeds", "parameters", "flops", f"{main}_interval", *bounds]
    lines = [[row.dataset, row.model, " ".join(map(str, row.seeds)), row.parameters, row.flops,
              row.values[main].method, *(x for m in metrics for x in _numbers(row.values[m]))]
             for section in sections for row in section.rows]  # fmt: skip
    (folder / "leaderboard.csv").write_text(_csv(header, lines))
    each = [
        [c.dataset, c.model, c.seed, c.run_id, c.best_epoch, *(_number(c.value(m)) for m in metrics)] for c in cells
    ]
    (folder / "cells.csv").write_text(_csv(["dataset", "model", "seed", "run_id", "best_epoch", *metrics], each))
    header = ["dataset", "a", "b", "seed", "only_a_right", "only_b_right", "p", "p_holm"]
    tests = [[s.dataset, t.a, t.b, t.seed, t.only_a, t.only_b, f"{t.p:.6g}", f"{t.adjusted_p:.6g}"]
             for s in sections for t in s.paired]  # fmt: skip
    (folder / "mcnemar.csv").write_text(_csv(header, tests))
    keys = grid.kind.history
    curves = [[c.dataset, c.model, c.seed, epoch + 1, *(_at(c.history.get(key), epoch) for key in keys)]
              for c in cells for epoch in range(len(c.history["val_loss"]))]  # fmt: skip
    (folder / "curves.csv").write_text(_csv(["dataset", "model", "seed", "epoch", *keys], curves))
    for section in sections:
        for name, table in section.tables.items():
            (folder / f"{section.dataset}_{name}.csv").write_text(_csv(table.head, table.values))
    texts = {section.dataset: list(section.analysis) for section in sections}
    (folder / "analysis.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")


def _at(values: np.ndarray | None, epoch: int) -> str:
    return "" if values is None else f"{values[epoch]:.6g}"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def _numbers(value: Interval) -> tuple[str, str, str]:
    low, high = (f"{x:.6g}" if value.known else "" for x in (value.low, value.high))
    return _number(value.mean), low, high


def _csv(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue()


def _text_table(section: Section) -> list[str]:
    main, others = section.metrics[0], [metric for metric in section.metrics[1:] if metric not in LEFT_OUT]
    _, tied, _ = leading(section.rows, main)
    with_flops = any(row.flops is not None for row in section.rows)
    heads = [TITLES.get(metric, metric.replace("_", " ")) for metric in others]
    widths = [max(9, len(head) + 2) for head in heads]
    costs = f"{'parameters':>13}{'MFLOPs' if with_flops else '':>10}"
    lines = [
        f"{section.dataset}, test data; = is not distinguishable from the best (intervals overlap)",
        f"{'':24}{main.replace('_', ' '):>27}"
        + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
        + costs.rstrip(),
    ]
    for row in section.rows:
        value = row.values[main]
        interval = f" [{value.low:.4f}, {value.high:.4f}]" if value.known else ""
        numbers = "".join(
            f"{_shown(metric, row.values[metric]):>{width}}" for metric, width in zip(others, widths, strict=True)
        )
        flops = "" if row.flops is None else f"{row.flops / 1e6:10,.1f}"
        mark = "= " if row in tied else "  "
        lines.append(f"{mark}{row.model:22}{f'{value.mean:.4f}{interval}':>27}{numbers}{row.parameters:13,}{flops}")
    return lines


def _shown(metric: str, value: Interval) -> str:
    return "-" if np.isnan(value.mean) else f"{value.mean:,.{places(metric)}f}"


def _description(grid: Grid, result: CompareResult) -> str:
    parts = [f"**compare {grid.title}**: {len(grid.cells) - len(result.failures)} of {len(grid.cells)} trainings "
             f"finished. The whole report is the artifact `{PAGE}`."]  # fmt: skip
    for section in result.sections:
        parts += [f"### {section.dataset}", *section.analysis]
    parts += [f"FAILED {cell}: {reason}" for cell, reason in result.failures.items()]
    return "\n\n".join(parts)
