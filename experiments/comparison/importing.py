"""Bringing a folder of results into MLflow: the runs that `compare` would have made where they were trained."""

import hashlib
import os
import sys
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from experiments.comparison.folder import GRID, Packed, ResultsFolder, SavedGrid
from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult, read_cell
from experiments.comparison.tracked import (
    EXPERIMENT,
    FINISHED,
    cell_of,
    finished_among,
    log_report,
    nested,
)
from experiments.config import CompareConfig, ConfigError, RunUnavailableError
from experiments.tracking.locks import file_lock
from experiments.tracking.recorder import FILES, MODEL, NOT_REGISTERED, Record
from experiments.tracking.run import tracked_run
from experiments.tracking.store import opened_store, store_folder
from experiments.training import resume
from experiments.training.progress import one_of_many
from tasks import task_class
from tasks.base import ModelFolderError, first_line
from tasks.runs import tagged_runs

RESULTS = "results"  # the tag with the id of the folder that a comparison was imported from


def import_results(config: CompareConfig) -> CompareResult | None:
    """Log the trainings of a folder of results that MLflow does not have, and the report; None if it has all of them.

    Files that are damaged or of other data are named on stderr and left out. Raises ConfigError for a folder without
    any that can be used, RunUnavailableError while another process imports it.
    """
    folder = ResultsFolder(Path(config.import_results))
    saved = folder.saved_grid("import_results")
    with file_lock(_lock(folder, saved), wait=False) as mine:
        if not mine:
            raise RunUnavailableError(
                f"{folder.path} is being imported by another process; wait for it or stop it first"
            )
        return _import_folder(config, folder, saved)


def _lock(folder: ResultsFolder, saved: SavedGrid) -> Path:
    """The file that keeps two processes of one machine from importing the same results into the same store.

    It lies beside the store. Behind a server it lies among the results, where that can be: processes may have different
    working directories.
    """
    place = store_folder()
    if place == Path() and os.access(folder.path, os.W_OK):
        place = folder.path
    return place / f".import-{hashlib.sha256(saved.id.encode()).hexdigest()[:16]}.lock"


def _import_folder(config: CompareConfig, folder: ResultsFolder, saved: SavedGrid) -> CompareResult | None:
    grid = folder.grid(saved)
    for fault in folder.faults(grid):
        print(f"warning: {fault}; left out", file=sys.stderr)
    found = {cell: packed for cell, packed in folder.finished(grid).items() if _can_be_reported(grid, cell, packed)}
    if not found:
        raise ConfigError(f"import_results is {str(folder.path)!r}, and no training in it is finished and whole")
    client = opened_store()
    _warn_of_other_data(client, grid)
    earlier = next(iter(tagged_runs(client, RESULTS, saved.id)), None)
    parent = earlier.info.run_id if earlier else None
    there = finished_among(nested(parent))
    new = {cell: packed for cell, packed in found.items() if cell not in there}
    if earlier and earlier.info.status == FINISHED and not new:
        print(f"nothing to import: run {parent} has the {len(there)} finished trainings of {folder.path}")
        return None
    records = [packed.record for packed in found.values()]
    # One with MLflow is of all epochs, and must not take over trainings of fewer.
    cut = f", cut to {grid.config.minutes:g} minutes" if saved.epochs else ""
    tags = {
        "grid": saved.digest + cut,
        RESULTS: saved.id,
        "cells": str(len(grid.cells)),
        **{name: _one_of(records, name) for name in ("git_commit", "device_name", "hardware")},
    }
    started, ended = min(record.started for record in records), max(record.ended for record in records)
    with ExitStack() as claimed, ExitStack() as stack:  # the claim is given back after the run has its end
        if parent is not None:
            claimed.enter_context(resume.claim(parent))
        made = tracked_run(EXPERIMENT, parent or "none", tags=tags, system_metrics=False, started=started)
        tracker = stack.enter_context(made)
        if parent is None:
            claimed.enter_context(resume.claim(tracker.run_id))
        tracker.ended = ended
        name = f"compare {grid.title}"
        tracker.start(name, f"**{name}** is being imported.", grid.config.model_dump(), tags)
        tracker.resumed_by = "the same command"
        print(f"{name}; parent run {tracker.run_id}")
        for place, (cell, packed) in enumerate(new.items(), start=1):
            cut_off = [run.info.run_id for run in nested(tracker.run_id) if cell_of(run) == cell]
            with one_of_many():  # MLflow says a line for each version
                _import(grid, packed, tracker.run_id, next(iter(cut_off), "none"), config.register)
            print(f"{place}/{len(new)}  {cell}: {len(packed.record.epochs)} epochs", flush=True)
        finished = finished_among(nested(tracker.run_id))
        failures = {cell: "not among the imported results" for cell in grid.cells if cell not in finished}
        return log_report(grid, tracker, finished, failures)


def _can_be_reported(grid: Grid, cell: Cell, packed: Packed) -> bool:
    """Whether the report can be made from a training, and its model, if there is one, be loaded.

    Faults are reported on stderr before anything is logged.
    """
    try:
        items, expected = len(read_cell(grid, cell, packed.left_behind()).right), grid.data[cell.dataset].test
        if items != expected:
            raise ValueError(f"they are {items:,} and not {expected:,}, as {GRID} says")
    except (OSError, ValueError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        print(f"warning: {packed.file} has no usable predictions: {first_line(error)}; left out", file=sys.stderr)
        return False
    model = packed.record.model
    with packed.unpacked() as folder:
        if model is None or not (folder / MODEL).is_dir():
            return True
        try:
            task_class(model.task)(folder / MODEL, model.name, "cpu").load()
        except (ModelFolderError, ValueError) as error:
            why = first_line(error).replace(str(folder / MODEL), MODEL)
            print(f"warning: {packed.file} has a damaged model: {why}; left out", file=sys.stderr)
            return False
    return True


def _import(grid: Grid, packed: Packed, parent: str, cut_off: str, register: bool) -> None:
    """Log one training, each value with the time at which it was measured."""
    record, family = packed.record, grid.kind.family.name
    with (
        packed.unpacked() as folder,
        tracked_run(family, cut_off, parent=parent, system_metrics=False, started=record.started) as tracker,
    ):
        tracker.ended = record.ended
        tracker.start(record.name, record.description, record.config, record.tags, record.speed_trial)
        tracker.log_dataset(*record.data)
        for epoch, (metrics, moment) in enumerate(zip(record.epochs, record.moments, strict=True), start=1):
            tracker.log_epoch(epoch, metrics, moment)
        tracker.log_json("reports/environment.json", {**record.environment, "seconds": record.seconds})
        tracker.log_files(folder / FILES)
        registry = "not registered: its weights are not among the results"
        if record.model is not None and (folder / MODEL).is_dir():
            wanted = record.registration if register else None
            _, registry = tracker.log_and_register(record.model, folder / MODEL, record.test, record.best_epoch, wanted)
        tracker.log_final(record.test, record.best_epoch)  # those that did not come with a model
        tracker.describe(record.description.replace(NOT_REGISTERED, registry))


def _one_of(records: list[Record], tag: str) -> str:
    """What the trainings say of where they were trained, each once."""
    return ", ".join(dict.fromkeys(record.tags.get(tag, "unknown") for record in records))


def _warn_of_other_data(client: Any, grid: Grid) -> None:
    """Say if other runs of this store were trained on other data of the same name."""
    for name, shape in grid.data.items():
        runs = tagged_runs(client, "dataset", name)
        digests = (run.data.tags.get("data_sha256", shape.sha256) for run in runs)
        others = [digest for digest in digests if digest != shape.sha256]
        if others:
            print(
                f"warning: the results are of {name} with SHA-256 {shape.sha256[:12]}..., runs here of one with "
                f"{others[0][:12]}...: do not compare them",
                file=sys.stderr,
            )
