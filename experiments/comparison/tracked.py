"""A comparison in MLflow: its parent run, the nested runs of its cells, and its report among the parent's artifacts."""

import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell, FinishedRun
from experiments.comparison.report import PAGE, CompareResult, description, write_report
from experiments.tracking.run import Tracker
from experiments.tracking.store import artifact_path, opened_store
from tasks.runs import artifact_file, metric_values, nested_runs, open_store

EXPERIMENT = "compare"
FINISHED = "FINISHED"


def cell_of(run: Any) -> Cell | None:
    """The cell that a nested run trains; None if it was cut off before it said."""
    model, dataset, seed = run.data.tags.get("model"), run.data.tags.get("dataset"), run.data.params.get("seed")
    return Cell(model, dataset, int(seed)) if model and dataset and seed else None


def nested(parent: str | None) -> list[Any]:
    """The runs under a parent, newest first; none without one."""
    return nested_runs(opened_store(), parent) if parent else []


def finished_among(runs: Iterable[Any]) -> dict[Cell, Any]:
    """The finished ones of some nested runs, by cell."""
    return {cell: run for run in runs if run.info.status == FINISHED and (cell := cell_of(run))}


def errors_among(runs: Iterable[Any]) -> dict[Cell, str]:
    """What the unfinished ones of some nested runs, newest first, ended with, by cell, whichever worker trained it."""
    errors: dict[Cell, str] = {}
    for run in runs:
        if run.info.status != FINISHED and (cell := cell_of(run)):
            errors.setdefault(cell, run.data.tags.get("error", "cut off"))
    return errors


def is_complete(run: Any) -> bool:
    """Whether a comparison went to its end with no failed cell; one with failed cells can be resumed."""
    return run.info.status == FINISHED and run.data.tags.get("cells_failed") == "0"


def log_report(grid: Grid, tracker: Tracker, runs: Mapping[Cell, Any], failed: Mapping[Cell, str]) -> CompareResult:
    """Write and log the report of the finished runs, and sum it up on the parent run."""
    left_behind = {cell: _left_behind(run) for cell, run in runs.items()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        findings = write_report(grid, left_behind, failed, folder, {"parent run": tracker.run_id})
        tracker.log_files(folder)
    result = CompareResult(tracker.run_id, findings, failed, artifact_path(tracker.run_id, PAGE))
    tracker.describe(description(grid, result), {"cells_failed": str(len(failed))})
    return result


def _left_behind(run: Any) -> FinishedRun:
    client, run_id, data = open_store(), run.info.run_id, run.data
    history, file = partial(metric_values, client, run_id), partial(artifact_file, client, run)
    return FinishedRun(run_id, data.params, data.tags, data.metrics, history, file)
