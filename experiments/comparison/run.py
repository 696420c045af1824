"""Running a grid: find an unfinished comparison of it, train what is missing, outlive failing cells, report."""

import sys
from collections.abc import Callable
from contextlib import ExitStack

from sqlalchemy.engine import URL

from experiments.comparison.duration import Clock
from experiments.comparison.grid import Grid, differences, make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult
from experiments.comparison.runner import GridRunner, announced, settled_as
from experiments.comparison.tracked import (
    EXPERIMENT,
    FINISHED,
    cell_of,
    errors_among,
    finished_among,
    is_complete,
    log_report,
    nested,
)
from experiments.config import CompareConfig, ConfigError, TrainingError
from experiments.data.images import kept_in_memory
from experiments.tracking.record import CONFIG_FILE
from experiments.tracking.run import RUNNING, Tracker, abandon_run, git_commit, tracked_run
from experiments.tracking.store import named_run, opened_store, patient, refuse_cut_off, store_folder, stored_config
from experiments.training import devices, resume
from experiments.training.family import Result
from experiments.training.many import train_one_of_many
from experiments.tuning.grid import CellQueue, shared_grid
from experiments.tuning.storage import study_lock
from tasks.runs import open_store, tagged_runs


def compare(config: CompareConfig) -> CompareResult | None:
    """Train the cells of a grid that no run has finished yet, and log a report to the parent run.

    The same command at the same time joins in: workers share the cells, and the result is None for those that do not
    write the report. Raises UserError before anything is trained if the configuration cannot work, TrainingError if
    every cell fails, or some of a worker that writes no report.
    """
    with kept_in_memory():
        grid = make_grid(config)
        opened_store()
        with patient(), shared_grid(config.storage, grid.digest(), store_folder()) as (url, storage):
            # Two workers that begin at once are to begin one comparison.
            with ExitStack() as beginning, ExitStack() as claimed:
                _wait_for_turn(beginning, url, f"compare-{grid.digest()[:16]}")
                parent = _named_parent(grid) if config.resume != "none" else _unfinished_parent(grid)
                if parent is None:
                    return _lead(grid, None, lambda run_id: CellQueue(url, storage, run_id), beginning)
                queue = CellQueue(url, storage, parent)
                if claimed.enter_context(queue.ownership()):
                    _warn_of_other_storage(parent, queue.place)
                    return _lead(grid, parent, lambda _: queue, beginning)
            print(f"joining the comparison {parent}", flush=True)
            helper = _help(grid, parent, queue)
            with queue.ownership() as mine:  # who led it may have died
                if mine and not is_complete(named_run(parent)):
                    return _lead(grid, parent, lambda _: queue, ExitStack())
            print(f"another worker writes the report; see run {parent}")
            helper.fail_if_some_did()
            return None


def _wait_for_turn(beginning: ExitStack, url: URL, name: str) -> None:
    """Take the lock under which a comparison is begun, saying so while another worker, which measures, has it."""
    if not beginning.enter_context(study_lock(url, name, wait=False)):
        print("waiting for another worker, which begins this comparison", flush=True)
        beginning.enter_context(study_lock(url, name))


def _warn_of_other_storage(parent: str, here: str) -> None:
    """Say if a comparison that may be at work was begun with another storage: its workers know nothing of this one."""
    run = named_run(parent)
    there = run.data.params.get("storage", here)
    if run.info.status == RUNNING and there != here:
        print(
            f"warning: run {parent} is RUNNING, and was begun with the storage {there}, not {here}: if its worker is "
            "still at work, stop this one, as both would train the same; workers share a grid through one storage",
            file=sys.stderr,
        )


def _lead(grid: Grid, parent: str | None, queue_of: Callable[[str], CellQueue], beginning: ExitStack) -> CompareResult:
    """Begin or resume a comparison, train what no other worker does, and report when all is done.

    `beginning` is closed when others can find it.
    """
    with ExitStack() as claimed, ExitStack() as stack:  # the claim is given back after the run has its end
        if parent is not None:
            claimed.enter_context(resume.claim(parent))
            print(f"resuming the unfinished comparison {parent}")
        missing = _missing(grid, parent)
        clock = announced(grid, missing)
        tracker = stack.enter_context(tracked_run(EXPERIMENT, parent or "none"))
        queue = queue_of(tracker.run_id)
        if parent is None:
            claimed.enter_context(queue.ownership())  # given back last: who leads next needs the claim as well
            claimed.enter_context(resume.claim(tracker.run_id))
        _start(grid, tracker, queue.place)
        queue.offer([str(cell) for cell in clock.in_order(missing)])
        beginning.close()
        runner = TrackedRunner(grid, tracker.run_id, clock)
        queue.work(runner.train)
        while not queue.others_are_done():
            queue.work(runner.train)
        _abandon_unbegun(tracker.run_id)
        runs = nested(tracker.run_id)
        finished, reasons = finished_among(runs), {**errors_among(runs), **runner.failures}
        failures = {cell: reasons.get(cell, "no finished run") for cell in grid.cells if cell not in finished}
        if not finished:
            raise TrainingError(f"every training failed ({len(failures)}); the first: {next(iter(failures.values()))}")
        return log_report(grid, tracker, finished, failures)


def _help(grid: Grid, parent: str, queue: CellQueue) -> GridRunner:
    """Train cells of a comparison that another worker leads; returns who did."""
    clock = announced(grid, _missing(grid, parent))
    runner = TrackedRunner(grid, parent, clock)
    queue.work(runner.train)
    return runner


def _missing(grid: Grid, parent: str | None) -> list[Cell]:
    finished = finished_among(nested(parent))
    return [cell for cell in grid.cells if cell not in finished]


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
    if is_complete(run):
        raise ConfigError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to resume")
    return run_id


def _unfinished_parent(grid: Grid) -> str | None:
    """The newest unfinished comparison of the same grid; None without one."""
    runs = tagged_runs(open_store(), "grid", grid.digest())
    return next((run.info.run_id for run in runs if not is_complete(run)), None)


def _start(grid: Grid, tracker: Tracker, storage: str) -> None:
    tags = {
        "grid": grid.digest(),
        "cells": str(len(grid.cells)),
        "git_commit": git_commit(),
        **devices.describe(grid.config.device),
    }
    name = f"compare {grid.title}"
    note = f"**{name}** is running: one nested run a training. Cut off? The same command resumes it."
    tracker.start(name, note, {**grid.config.model_dump(), "storage": storage}, tags)
    tracker.resumed_by = "the same command"
    print(f"{name}; parent run {tracker.run_id}")


def _abandon_unbegun(parent: str) -> None:
    for run in nested(parent):
        if run.info.status != FINISHED and cell_of(run) is None:
            abandon_run(run.info.run_id, "cut off before it had begun; the comparison continued without it")


class TrackedRunner(GridRunner):
    """Trains cells as runs under the comparison's parent run."""

    def __init__(self, grid: Grid, parent: str, clock: Clock) -> None:
        super().__init__(grid, clock)
        self.parent = parent

    def finished(self) -> dict[Cell, object]:
        return finished_among(nested(self.parent))

    def run(self, cell: Cell) -> tuple[Result, bool]:
        runs = nested(self.parent)
        mine = [run for run in runs if cell_of(run) == cell]
        # All seeds of a model on a data set are to be alike. A training that was cut off stays as it began, and what
        # was chosen for the first of the others, finished or not, holds for the rest.
        others = [run for run in reversed(runs) if (found := cell_of(run)) and found[:2] == cell[:2]]
        known = [(run.data.params, run.data.tags.get("hardware", "")) for run in (*mine, *others)]
        config = settled_as(self.grid.cell_config(cell), known)
        cut_off = [run.info.run_id for run in mine]
        return train_one_of_many(self.grid.kind.family, config, self.parent, cut_off, str(cell)), not cut_off
