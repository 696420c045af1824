"""Running a grid: find an unfinished comparison of it, train what is missing, outlive failing cells, report."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm

from experiments.comparison.grid import Clock, Grid, differences, estimate, make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult, report
from experiments.config import CompareConfig, ConfigError, TrainingError
from experiments.data.images import kept_in_memory
from experiments.reports.text import format_duration
from experiments.tracking.run import Tracker, abandon_run, git_commit, tracked_run
from experiments.tracking.store import (
    CONFIG_FILE,
    named_run,
    opened_store,
    patient,
    refuse_cut_off,
    store_folder,
    stored_config,
)
from experiments.training import devices, resume
from experiments.training.many import one_of_many, train_one_of_many
from experiments.tuning.grid import CellQueue, shared_grid
from experiments.tuning.storage import study_lock
from tasks.runs import nested_runs, open_store, tagged_runs

EXPERIMENT = "compare"
LONGEST_UNCONFIRMED = 12 * 3600
FINISHED = "FINISHED"


def compare(config: CompareConfig) -> CompareResult | None:
    """Train the cells of a grid that no run has finished yet, and log a report to the parent run.

    The same command at the same time joins in: workers share the cells, and the result is None for those that do not
    write the report. Raises UserError before anything is trained if the configuration cannot work, TrainingError if
    every cell fails.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("compare runs in one process; start the same command several times instead of torchrun")
    with kept_in_memory():
        grid = make_grid(config)
        opened_store()
        with patient(), shared_grid(config.storage, grid.digest(), store_folder()) as (url, storage):
            # Two workers that begin at once are to begin one comparison.
            with ExitStack() as beginning, ExitStack() as claimed:
                beginning.enter_context(study_lock(url, f"compare-{grid.digest()[:16]}"))
                parent = _named_parent(grid) if config.resume != "none" else _unfinished_parent(grid)
                if parent is None:
                    return _lead(grid, None, lambda run_id: CellQueue(url, storage, run_id), beginning)
                queue = CellQueue(url, storage, parent)
                if claimed.enter_context(queue.ownership()):
                    return _lead(grid, parent, lambda _: queue, beginning)
            print(f"joining the comparison {parent}", flush=True)
            _help(grid, parent, queue)
            with queue.ownership() as mine:  # who led it may have died
                if mine and not _is_complete(named_run(parent)):
                    return _lead(grid, parent, lambda _: queue, ExitStack())
            print(f"another worker writes the report; see run {parent}")
            return None


def _lead(grid: Grid, parent: str | None, queue_of: Callable[[str], CellQueue], beginning: ExitStack) -> CompareResult:
    """Begin or resume a comparison, train what no other worker does, and report when all is done.

    `beginning` is closed when others can find it.
    """
    with ExitStack() as claimed, ExitStack() as stack:  # the claim is given back after the run has its end
        if parent is not None:
            claimed.enter_context(resume.claim(parent))
            print(f"resuming the unfinished comparison {parent}")
        missing = _missing(grid, parent)
        clock = _clock(grid, missing)
        tracker = stack.enter_context(tracked_run(EXPERIMENT, parent or "none"))
        queue = queue_of(tracker.run_id)
        if parent is None:
            claimed.enter_context(resume.claim(tracker.run_id))
            claimed.enter_context(queue.ownership())
        _start(grid, tracker, queue.place)
        queue.offer([str(cell) for cell in missing])
        beginning.close()
        crew = Crew(grid, tracker.run_id, clock)
        queue.work(crew.train)
        while not queue.others_are_done():
            queue.work(crew.train)
        _abandon_unbegun(tracker.run_id)
        finished = _finished(tracker.run_id)
        failures = {cell: crew.failures.get(cell, "no finished run") for cell in grid.cells if cell not in finished}
        if not finished:
            raise TrainingError(f"every training failed ({len(failures)}); the first: {next(iter(failures.values()))}")
        return report(grid, tracker, finished, failures)


def _help(grid: Grid, parent: str, queue: CellQueue) -> None:
    """Train cells of a comparison that another worker leads."""
    clock = _clock(grid, _missing(grid, parent))
    queue.work(Crew(grid, parent, clock).train)


def _missing(grid: Grid, parent: str | None) -> list[Cell]:
    finished = _finished(parent)
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
    if _is_complete(run):
        raise ConfigError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to resume")
    return run_id


def _unfinished_parent(grid: Grid) -> str | None:
    """The newest unfinished comparison of the same grid; None without one."""
    runs = tagged_runs(open_store(), "grid", grid.digest())
    return next((run.info.run_id for run in runs if not _is_complete(run)), None)


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


def _leftovers(parent: str, cell: Cell | None) -> list[str]:
    """The runs of a cell that are not finished; of those cut off before they said which, for None."""
    runs = nested_runs(open_store(), parent)
    return [run.info.run_id for run in runs if run.info.status != FINISHED and _cell_of(run) == cell]


def _abandon_unbegun(parent: str) -> None:
    for run_id in _leftovers(parent, None):
        abandon_run(run_id, "cut off before it had begun; the comparison went on without it")


class Crew:
    """Trains cells of a comparison in this process, and says how far all of it is.

    Attributes:
        failures: what failed here, and why.
    """

    def __init__(self, grid: Grid, parent: str, clock: Clock) -> None:
        self.grid, self.parent, self.clock = grid, parent, clock
        self.failures: dict[Cell, str] = {}

    def train(self, name: str) -> bool:
        """Train a cell by its name; returns whether it is finished. Why it is not is noted and said."""
        cell = next(cell for cell in self.grid.cells if str(cell) == name)
        finished = _finished(self.parent)
        if cell in finished:
            return True
        self.failures.pop(cell, None)
        self.clock.forget(finished)
        started, total = time.perf_counter(), len(self.grid.cells)
        done = len(finished) + len(self.failures)
        with tqdm(
            total=total, initial=done, desc=name, unit="run", disable=not sys.stderr.isatty(), leave=False
        ) as bar:
            try:
                with one_of_many(bar.set_postfix_str):
                    config, cut_off = self._config(cell, finished), _leftovers(self.parent, cell)
                    result = train_one_of_many(self.grid.kind.family, config, self.parent, cut_off, name)
                seconds = time.perf_counter() - started
                self.clock.done(cell, seconds)
                metric = self.grid.kind.metric
                outcome = f"test {metric.replace('_', ' ')} {result.metrics[f'test_{metric}']:.4f}, {seconds:.1f} s"
            except Exception as error:  # whatever a cell dies of (memory, a disk, a bug), the others are run
                self.failures[cell] = " ".join(f"{error or type(error).__name__}".split())[:300]
                self.clock.done(cell, None)
                outcome = f"FAILED: {self.failures[cell]}"
        left = f"; about {format_duration(self.clock.left)} left" if self.clock.waiting else ""
        print(f"{done + 1:{len(str(total))}}/{total}  {name}: {outcome}{left}", flush=True)
        return cell not in self.failures

    def _config(self, cell: Cell, finished: Mapping[Cell, Any]) -> Any:
        """The training of a cell, in the precision and format that its other seeds were trained in."""
        config = self.grid.cell_config(cell)
        here = devices.describe(config.device)["hardware"]
        for other, run in finished.items():
            known, alike = run.data.params, (other.model, other.dataset) == (cell.model, cell.dataset)
            if config.precision == "auto" and alike and known.get("device") == config.device:
                threads = int(known["threads"]) if run.data.tags.get("hardware") == here else config.threads
                form = known.get("memory_format", "channels_last")
                return config.replace(precision=known["precision"], memory_format=form, threads=threads)
        return config
