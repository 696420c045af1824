"""The report of a comparison: reads the finished runs, draws, writes CSV and one HTML page, logs all to the parent."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell
from experiments.comparison.page import sections, text_table
from experiments.comparison.results import CellResult, Findings, Row
from experiments.reports.page import artifact_path, failures, render
from experiments.reports.tables import bounds, to_csv
from experiments.tracking.run import Tracker
from tasks.runs import metric_values, open_store

PAGE = "reports/comparison.html"
PAIR_COLUMNS: tuple[str, ...] = ("dataset", "a", "b", "seed", "only_a_right", "only_b_right", "p", "p_holm")


@dataclass(frozen=True)
class CompareResult:
    """What came out of a comparison; `findings` holds the leaderboard and the analysis of each data set."""

    run_id: str
    findings: tuple[Findings, ...]
    failures: Mapping[Cell, str]
    page_uri: str

    def table(self) -> str:
        """The result for a terminal."""
        lines = [line for one in self.findings for line in (*text_table(one), "", *one.analysis, "")]
        lines += [f"FAILED {cell}: {reason}" for cell, reason in self.failures.items()]
        return "\n".join([*lines, f"report: {self.page_uri}"])


def report(grid: Grid, tracker: Tracker, runs: Mapping[Cell, Any], failed: Mapping[Cell, str]) -> CompareResult:
    """Write and log the report of the finished runs, and sum it up on the parent run."""
    cells = [_read(grid, cell, runs[cell]) for cell in grid.cells if cell in runs]
    everything, parts = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for dataset, data in grid.data.items():
            if mine := [cell for cell in cells if cell.dataset == dataset]:
                everything.append(grid.kind.findings(data, mine))
                parts += sections(everything[-1], grid.kind.draw(folder / "plots", everything[-1], data, mine))
        (folder / "reports").mkdir()
        for name, text in _tables(grid, everything, cells).items():
            (folder / "reports" / name).write_text(text, encoding="utf-8")
        parts += failures("Trainings that failed", {str(cell): reason for cell, reason in failed.items()})
        page = render(f"Comparison: {grid.title}", parts, _facts(grid, tracker, runs), grid.kind.notes)
        (folder / PAGE).write_text(page, encoding="utf-8")
        tracker.log_files(folder)
    result = CompareResult(tracker.run_id, tuple(everything), failed, artifact_path(tracker.run_id, PAGE))
    tracker.describe(_description(grid, result), {"cells_failed": str(len(failed))})
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


def _tables(grid: Grid, everything: Sequence[Findings], cells: Sequence[CellResult]) -> dict[str, str]:
    """The files of tables, by name."""
    keys = grid.kind.history
    each = [
        {**_identity(one), "run_id": one.run_id, "best_epoch": one.best_epoch}
        | {metric: one.value(metric) for metric in grid.kind.metrics}
        for one in cells
    ]
    curves = [
        {**_identity(one), "epoch": epoch + 1}
        | {key: float(one.history[key][epoch]) if key in one.history else None for key in keys}
        for one in cells
        for epoch in range(len(one.history["val_loss"]))
    ]
    tests = [
        dict(zip(PAIR_COLUMNS, (one.dataset, t.a, t.b, t.seed, t.a_better, t.b_better, t.p, t.adjusted_p), strict=True))
        for one in everything
        for t in one.pairs
    ]
    analysis = {one.dataset: one.analysis for one in everything}
    extra = {f"{one.dataset}_{name}.csv": to_csv(table.rows) for one in everything for name, table in one.extra.items()}
    return {
        "leaderboard.csv": to_csv([_numbers(row, grid.kind.metrics) for one in everything for row in one.rows]),
        "cells.csv": to_csv(each),
        "mcnemar.csv": to_csv(tests, PAIR_COLUMNS),
        "curves.csv": to_csv(curves),
        "analysis.json": json.dumps(analysis, indent=1, ensure_ascii=False),
        **extra,
    }


def _identity(cell: CellResult) -> dict[str, object]:
    return {"dataset": cell.dataset, "model": cell.model, "seed": cell.seed}


def _numbers(row: Row, metrics: Sequence[str]) -> dict[str, object]:
    identity = {"dataset": row.dataset, "model": row.model, "seeds": " ".join(map(str, row.seeds))}
    costs = {"parameters": row.parameters, "flops": row.flops}
    values = {name: value for metric in metrics for name, value in bounds(metric, row.values[metric]).items()}
    return {**identity, **costs, f"{metrics[0]}_interval": row.values[metrics[0]].method, **values}


def _description(grid: Grid, result: CompareResult) -> str:
    parts = [
        f"**compare {grid.title}**: {len(grid.cells) - len(result.failures)} of {len(grid.cells)} trainings "
        f"finished. The whole report is the artifact `{PAGE}`."
    ]
    for findings in result.findings:
        parts += [f"### {findings.dataset}", *findings.analysis]
    parts += [f"FAILED {cell}: {reason}" for cell, reason in result.failures.items()]
    return "\n\n".join(parts)
