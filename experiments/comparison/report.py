"""The report of a comparison: reads the finished runs, draws, writes CSV and one HTML page."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from experiments.comparison.figures import save_bars, save_costs
from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell, FigureSpec, FinishedRun, Shape
from experiments.comparison.results import CellResult, Findings, NetworkRow, find, models_of, shown
from experiments.reports.page import RANKED, Section, Table, failures, number, pairs_table, render
from experiments.reports.statistics import leading
from experiments.reports.tables import bounds, to_csv, to_text
from tasks.metrics import record

PAGE = "reports/comparison.html"
PAIR_COLUMNS: tuple[str, ...] = ("dataset", "a", "b", "seed", "only_a_right", "only_b_right", "p", "p_holm")
# Too much for the width of a terminal; the page has them.
LEFT_OUT = {"precision", "recall"}


@dataclass(frozen=True)
class CompareResult:
    """What came out of a comparison; `findings` holds the leaderboard and the analysis of each data set.

    `run_id` is that of the parent run; empty without MLflow.
    """

    run_id: str
    findings: tuple[Findings, ...]
    failures: Mapping[Cell, str]
    page_uri: str

    def table(self) -> str:
        """The result for a terminal."""
        lines = [line for one in self.findings for line in (*text_table(one), "", *one.analysis, "")]
        lines += [f"FAILED {cell}: {reason}" for cell, reason in self.failures.items()]
        return "\n".join([*lines, f"report: {self.page_uri}"])


def write_report(
    grid: Grid, runs: Mapping[Cell, FinishedRun], failed: Mapping[Cell, str], folder: Path, facts: Mapping[str, str]
) -> tuple[Findings, ...]:
    """Write figures under `plots/`, tables and the page under `reports/`; `facts` say where the runs are kept."""
    cells = [read_cell(grid, cell, runs[cell]) for cell in grid.cells if cell in runs]
    everything, parts = [], []
    for dataset, data in grid.data.items():
        if mine := [cell for cell in cells if cell.dataset == dataset]:
            flops = {model: grid.kind.flops(model, data) for model in models_of(mine)}
            found = find(mine, grid.kind.metrics, grid.kind.items, flops, grid.kind.extra(mine))
            everything.append(found)
            parts += _sections(found, _draw(grid, folder / "plots", found, data, mine))
    (folder / "reports").mkdir()
    for name, text in _tables(grid, everything, cells, runs).items():
        (folder / "reports" / name).write_text(text, encoding="utf-8")
    parts += failures("Trainings that failed", {str(cell): reason for cell, reason in failed.items()})
    page = render(f"Comparison: {grid.title}", parts, {**facts, **_facts(grid, runs)}, grid.kind.notes)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return tuple(everything)


def read_cell(grid: Grid, cell: Cell, run: FinishedRun) -> CellResult:
    """What a report needs of a finished training. Raises OSError, ValueError or LookupError if it is not there."""
    histories = {key: np.array(run.history(key)) for key in grid.kind.history}
    known = {
        **cell._asdict(),
        "run_id": run.run_id,
        "test": {key: value for key, value in run.metrics.items() if key.startswith("test_")},
        "history": {key: values for key, values in histories.items() if len(values)},
        "best_epoch": int(run.tags["best_epoch"]),
        "parameters": int(run.tags["parameters"]),
        "examples": len(histories["val_loss"]) * grid.data[cell.dataset].train,
    }
    return grid.kind.read(run, known)


def _draw(
    grid: Grid, folder: Path, findings: Findings, data: Shape, cells: Sequence[CellResult]
) -> list[tuple[str, Path]]:
    names = models_of(cells)
    figures = [
        *grid.kind.figures(findings, data, cells),
        FigureSpec("metrics", "Test metrics", partial(save_bars, findings=findings, models=names)),
        FigureSpec(
            "cost", "Accuracy against cost: up and left is better", partial(save_costs, findings=findings, models=names)
        ),
    ]
    paths = [folder / f"{findings.dataset}_{one.name}.png" for one in figures]
    for one, path in zip(figures, paths, strict=True):
        one.save(path)
    return [(one.caption, path) for one, path in zip(figures, paths, strict=True)]


def _sections(findings: Findings, figures: Sequence[tuple[str, Path]]) -> list[Section]:
    """What the page says about one data set."""
    name = findings.dataset
    tables = [_leaderboard(findings), *(extra.page for extra in findings.extra.values())]
    parts = [Section(name, findings.analysis, tables=tables)]
    if findings.pairs:
        parts.append(Section(f"{name}: paired tests", tables=[pairs_table(findings.pairs, "items", str)]))
    return [*parts, Section(f"{name}: figures", figures=figures)]


def _leaderboard(findings: Findings) -> Table:
    rows, metrics = findings.rows, findings.metrics
    best, tied, _ = leading({row.model: row.values[metrics[0]] for row in rows})
    cells = [
        [
            row.model,
            str(len(row.seeds)),
            *(number(row.values[metric], partial(shown, metric)) for metric in metrics),
            *_costs(row),
        ]
        for row in rows
    ]
    titles = (record(metric).title for metric in metrics)
    head = ["model", "seeds", *titles, f"{findings.items} seen", "parameters", "MFLOPs/image"][: len(cells[0])]
    marks = {place: "best" for place, row in enumerate(rows) if row.model in (best, *tied)}
    return Table(head, cells, RANKED, marks)


def _costs(row: NetworkRow) -> list[str]:
    return [f"{row.examples:,}", f"{row.parameters:,}", *([] if row.flops is None else [f"{row.flops / 1e6:,.1f}"])]


def text_table(findings: Findings) -> list[str]:
    """The leaderboard for a terminal."""
    main = findings.metrics[0]
    _, tied, _ = leading({row.model: row.values[main] for row in findings.rows})
    lines = []
    for row in findings.rows:
        line = {"": f"{'= ' if row.model in tied else '  '}{row.model}"}
        if len({one.seeds for one in findings.rows}) > 1:  # some are missing
            line["seeds"] = " ".join(map(str, row.seeds))
        line[record(main).title] = row.values[main].format(partial(shown, main))
        for metric in findings.metrics[1:]:
            if metric not in LEFT_OUT and any(not math.isnan(one.values[metric].mean) for one in findings.rows):
                line[record(metric).title] = shown(metric, row.values[metric].mean)
        costs = (f"{findings.items} seen", "parameters", "MFLOPs")
        lines.append(line | dict(zip(costs, _costs(row), strict=False)))
    head = f"{findings.dataset}, test data; = is not distinguishable from the best (intervals overlap)"
    return [head, to_text(lines)]


def _facts(grid: Grid, runs: Mapping[Cell, FinishedRun]) -> dict[str, str]:
    """What a reader must know to interpret the numbers."""

    def of_runs(kind: str, name: str, dataset: str = "") -> str:
        chosen = [run for cell, run in runs.items() if dataset in ("", cell.dataset)]
        return ", ".join(sorted({getattr(run, kind).get(name, "unknown") for run in chosen}))

    machines = sorted({run.tags.get("hardware", "unknown") for run in runs.values()})
    facts = {
        "commit": of_runs("tags", "git_commit"),
        "machines": "; ".join(machines) + (" (do not compare their seconds)" if len(machines) > 1 else ""),
        "precision": of_runs("params", "precision"),
        "epochs": _epochs(grid),
    }
    if missing := [str(cell) for cell in grid.cells if cell not in runs]:
        facts["missing"] = f"{len(missing)} of {len(grid.cells)} trainings: {'; '.join(missing)}"
    for name, data in grid.data.items():
        sizes = f"{data.train:,} training, {data.val:,} validation, {data.test:,} test {grid.kind.items}"
        facts[name] = f"{sizes}; SHA-256 {of_runs('tags', 'data_sha256', name)}"
    return facts


def _epochs(grid: Grid) -> str:
    if not grid.epochs:
        return "as each recipe says" if grid.config.epochs is None else str(grid.config.epochs)
    counts = (f"{count} of {cell.model} on {cell.dataset}" for cell, count in grid.epochs.items() if cell.seed == 0)
    return f"cut to what {grid.config.minutes:g} minutes allow: {', '.join(counts)}"


def _tables(
    grid: Grid, everything: Sequence[Findings], cells: Sequence[CellResult], runs: Mapping[Cell, FinishedRun]
) -> dict[str, str]:
    """The files of tables, by name."""
    keys = grid.kind.history
    each = [
        {**_identity(one), "run_id": one.run_id, **_machine(runs[Cell(one.model, one.dataset, one.seed)])}
        | {"epochs": len(one.history["val_loss"]), "examples": one.examples, "best_epoch": one.best_epoch}
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


def _machine(run: FinishedRun) -> dict[str, object]:
    """What a training ran on, without which its seconds say nothing."""
    dtype, threads = run.params.get("precision"), run.params.get("threads")  # `precision` is a metric here
    return {"hardware": run.tags.get("hardware"), "dtype": dtype, "threads": threads}


def _numbers(row: NetworkRow, metrics: Sequence[str]) -> dict[str, object]:
    identity = {"dataset": row.dataset, "model": row.model, "seeds": " ".join(map(str, row.seeds))}
    costs = {"examples": row.examples, "parameters": row.parameters, "flops": row.flops}
    values = {name: value for metric in metrics for name, value in bounds(metric, row.values[metric]).items()}
    return {**identity, **costs, f"{metrics[0]}_interval": row.values[metrics[0]].method, **values}


def description(grid: Grid, result: CompareResult) -> str:
    """What the parent run says of itself, in Markdown."""
    parts = [
        f"**compare {grid.title}**: {len(grid.cells) - len(result.failures)} of {len(grid.cells)} trainings "
        f"finished. The whole report is the artifact `{PAGE}`."
    ]
    for findings in result.findings:
        parts += [f"### {findings.dataset}", *findings.analysis]
    parts += [f"FAILED {cell}: {reason}" for cell, reason in result.failures.items()]
    return "\n\n".join(parts)
