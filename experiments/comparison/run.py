"""Running a grid: find an unfinished comparison of it, train what is missing, outlive failing cells, report."""

import os
import sys
import time
from contextlib import ExitStack
from typing import Any

from filelock import BaseFileLock
from tqdm import tqdm

from experiments.comparison.grid import Clock, Grid, differences, estimate, make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult, report
from experiments.config import CompareConfig, ConfigError, TrainingError
from experiments.reports.text import format_duration
from experiments.tracking.run import Tracker, abandon_run, git_commit, tracked_run
from experiments.tracking.store import CONFIG_FILE, named_run, opened_store, patient, refuse_cut_off, stored_config
from experiments.training import devices, resume
from experiments.training.many import one_of_many, train_one_of_many
from tasks.runs import nested_runs, open_store, tagged_runs

EXPERIMENT = "compare"
LONGEST_UNCONFIRMED = 12 * 3600
FINISHED = "FINISHED"


def compare(config: CompareConfig) -> CompareResult:
    """Train the cells of a grid that no run has finished yet, and log a report to the parent run.

    Raises UserError before anything is trained if the configuration cannot work, TrainingError if every cell fails.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("compare runs in one process; valid: without torchrun")
    grid = make_grid(config)
    opened_store()
    # A parent to resume is claimed before it is touched: it may be in the hands of another process.
    with patient(), ExitStack() as claimed, ExitStack() as stack:  # the claim is given back after the run has its end
        parent = _named_parent(grid) if config.resume != "none" else _unfinished_parent(grid, claimed)
        if parent is not None and config.resume != "none":
            claimed.enter_context(resume.claim(parent))
        finished = _finished(parent)
        missing = [cell for cell in grid.cells if cell not in finished]
        clock = _clock(grid, missing)
        tracker = stack.enter_context(tracked_run(EXPERIMENT, parent or "none"))
        if parent is None:
            claimed.enter_context(resume.claim(tracker.run_id))
        _start(grid, tracker)
        failures = _train_all(grid, missing, tracker, clock)
        finished = _finished(tracker.run_id)
        failures = {cell: failures.get(cell, "no finished run") for cell in grid.cells if cell not in finished}
        if not finished:
            raise TrainingError(f"every training failed ({len(failures)}); the first: {next(iter(failures.values()))}")
        return report(grid, tracker, finished, failures)


def _named_parent(grid: Grid) -> str:
    """The parent run that `resume` names. Raises ConfigError if it is not an unfinished one of this grid."""
    run_id, client = grid.config.resume, open_store()
    run = named_run(run_id)
    if "grid" not in run.data.tags:
        refuse_cut_off(client, run)
        raise ConfigError(f"resume is {run_id!r}, and that run is not a comparison")
    if run.data.tags["grid"] != grid.digest():
        other = stored_config(client, run)
        if other is None:
            raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program")
        reasons = "; ".join(differences(grid.config.model_dump(), other))
        raise ConfigError(f"resume is {run_id!r}, and that comparison is of another grid: {reasons}")
    if _is_complete(run):
        raise ConfigError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to resume")
    return run_id


def _unfinished_parent(grid: Grid, stack: ExitStack) -> str | None:
    """The newest unfinished comparison of the same grid that no process is working on, claimed; None without one."""
    for run in tagged_runs(open_store(), "grid", grid.digest()):
        if _is_complete(run):
            continue
        try:
            lock: BaseFileLock = resume.claim(run.info.run_id)
        except ConfigError:  # in use
            continue
        stack.enter_context(lock)
        print(f"resuming the unfinished comparison {run.info.run_id}")
        return run.info.run_id
    return None


def _is_complete(run: Any) -> bool:
    """Whether a comparison went to its end with no failed cell; one with failed cells can be resumed."""
    return run.info.status == FINISHED and run.data.tags.get("cells_failed") == "0"


def _cell_of(run: Any) -> Cell | None:
    """The cell that a nested run trains; None if it was cut off before it said."""
    model, dataset, seed = run.data.tags.get("model"), run.data.tags.get("dataset"), run.data.params.get("seed")
    return Cell(model, dataset, int(seed)) if model and dataset and seed else None


def _finished(parent: str | None) -> dict[Cell, Any]:
    """The finished runs under a parent, by cell."""
    runs = nested_runs(opened_store(), parent) if parent else []
    return {cell: run for run in runs if run.info.status == FINISHED and (cell := _cell_of(run))}


def _clock(grid: Grid, missing: list[Cell]) -> Clock:
    """Estimate the time, say it, and refuse what takes too long unless the user confirmed it."""
    clock = Clock(estimate(grid, missing))
    done = len(grid.cells) - len(missing)
    trainings = "1 training" if len(missing) == 1 else f"{len(missing)} trainings"
    print(
        f"{trainings}{f' ({done} are finished already)' if done else ''}, "
        f"about {format_duration(clock.left)} on {devices.describe(grid.config.device)['device_name']}"
    )
    if clock.left > LONGEST_UNCONFIRMED and not grid.config.confirm:
        raise ConfigError(
            f"{trainings} would take about {format_duration(clock.left)}; compare fewer models, data sets or "
            "seeds, set epochs, or go ahead with confirm=true"
        )
    return clock


def _start(grid: Grid, tracker: Tracker) -> None:
    tags = {
        "grid": grid.digest(),
        "cells": str(len(grid.cells)),
        "git_commit": git_commit(),
        **devices.describe(grid.config.device),
    }
    name = f"compare {grid.title}"
    note = f"**{name}** is running: one nested run a training. Cut off? The same command resumes it."
    tracker.start(name, note, grid.config.model_dump(), tags)
    tracker.resumed_by = "the same command"
    print(f"{name}; parent run {tracker.run_id}")


def _train_all(grid: Grid, missing: list[Cell], tracker: Tracker, clock: Clock) -> dict[Cell, str]:
    """Train every missing cell; returns what failed, and why."""
    leftovers = [run for run in nested_runs(open_store(), tracker.run_id) if run.info.status != FINISHED]
    failures: dict[Cell, str] = {}
    total, width = len(grid.cells), len(str(len(grid.cells)))
    with tqdm(
        total=total, initial=total - len(missing), desc="compare", unit="run", disable=not sys.stderr.isatty()
    ) as bar:
        for number, cell in enumerate(missing, start=total - len(missing) + 1):
            started = time.perf_counter()
            bar.set_description(str(cell))
            cut_off = [run.info.run_id for run in leftovers if _cell_of(run) == cell]
            try:
                with one_of_many(bar.set_postfix_str):
                    config = grid.cell_config(cell)
                    result = train_one_of_many(grid.kind.family, config, tracker.run_id, cut_off, str(cell))
                seconds = time.perf_counter() - started
                clock.done(cell, seconds)
                metric = grid.kind.metric
                outcome = f"test {metric.replace('_', ' ')} {result.metrics[f'test_{metric}']:.4f}, {seconds:.1f} s"
            except Exception as error:  # whatever a cell dies of (memory, a disk, a bug), the others are run
                failures[cell] = " ".join(f"{error or type(error).__name__}".split())[:300]
                clock.done(cell, None)
                outcome = f"FAILED: {failures[cell]}"
            left = f"; about {format_duration(clock.left)} left" if clock.waiting else ""
            tqdm.write(f"{number:{width}}/{total}  {cell}: {outcome}{left}", file=sys.stdout)
            sys.stdout.flush()
            bar.update()
    for run in leftovers:
        if _cell_of(run) is None:
            abandon_run(run.info.run_id, "cut off before it had begun; the comparison went on without it")
    return failures
