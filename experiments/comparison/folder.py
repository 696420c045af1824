"""A folder of results: what a comparison leaves where there is no MLflow, at most 16 MiB of it.

`grid.json` says what is compared, `cells/` has one zip file a finished training, `reports/` the tables and the page.
`unfinished/` has what is needed to resume, and is not counted.
"""

import contextlib
import dataclasses
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from experiments.comparison.duration import planned_epochs
from experiments.comparison.grid import Grid, cells_of, differences
from experiments.comparison.kind import Cell, Shape, kind_of
from experiments.comparison.packed import Packed, checked, parts
from experiments.config import CompareConfig, ConfigError, dataset_name, training_config
from experiments.tracking.locks import file_lock
from experiments.tracking.recorder import Recorder
from tasks.base import first_line
from tasks.disk import is_part, write_whole

MOST_BYTES, REPORT_BYTES = 16 * 2**20, 4 * 2**20
SILENT_SECONDS = 1.0  # of waiting for another worker
GRID, CELLS, REPORTS, UNFINISHED, LOCK = "grid.json", "cells", "reports", "unfinished", "grid.lock"


class SavedGrid(BaseModel):
    """What is compared, in `grid.json`; `epochs` are those that are cut, by the name of the cell's file."""

    model_config = ConfigDict(extra="forbid")

    id: str
    started: int
    digest: str  # of the grid that was asked for
    config: dict[str, Any]
    data: dict[str, Shape]
    epochs: dict[str, int]


class ResultsFolder:
    """A folder of results, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = ""  # of the grid, as `grid.json` says; every file of a cell has it as its comment

    def saved_grid(self, field: str) -> SavedGrid:
        """What the folder says is compared. Raises ConfigError, naming the parameter `field`, for any other folder."""
        try:
            saved = SavedGrid.model_validate_json((self.path / GRID).read_bytes())
            self._digest = saved.digest
            return saved
        except FileNotFoundError as error:
            raise ConfigError(
                f"{field} is {str(self.path)!r}, and there is no {self.path / GRID}; valid: a folder that "
                "compare with tracking=none wrote"
            ) from error
        except OSError as error:
            raise ConfigError(f"{field} is {str(self.path)!r}, which cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise ConfigError(f"{self.path / GRID} is damaged or of another program; valid: another folder") from error

    def grid(self, saved: SavedGrid) -> Grid:
        """The grid, without looking at data or devices, which may be elsewhere. Raises ConfigError if it is damaged."""
        try:
            config = CompareConfig(**saved.config)
            kind, cells = kind_of(config.kind), cells_of(config)
            data = {cell.dataset: saved.data[cell.dataset] for cell in cells}
            _check_plan(config, cells, data)
            return Grid(kind, config, cells, data, _epochs(saved, cells))
        except (ConfigError, KeyError, ValueError) as error:
            raise ConfigError(f"{self.path / GRID} is damaged or of another version: {first_line(error)}") from error

    def begin(self, grid: Grid) -> Grid:
        """Write what is compared, or find it written: then with its epochs, which one machine has decided for all.

        Raises ConfigError if the folder cannot be used, or has results of another grid or of other data.
        """
        where = f"out is {str(self.path)!r}"
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{where}, which is no folder; valid: a new folder, or one with results of this grid")
        with self._writing():
            if self._is_foreign():
                raise ConfigError(
                    f"{where}, which has other files; valid: a new or empty folder, or one with results of this grid"
                )
            (self.path / UNFINISHED).mkdir(parents=True, exist_ok=True)
            for folder in (CELLS, REPORTS):  # fails here if it cannot be created, not after hours of training
                (self.path / folder).mkdir(exist_ok=True)
            turn = self._in_turn()
        with turn:
            if not (self.path / GRID).exists():
                self._write_grid(grid)
        saved = self.saved_grid("out")
        if saved.digest != grid.digest():
            reasons = "; ".join(differences(grid.config.model_dump(), saved.config))
            raise ConfigError(f"{where}, which has results of another grid: {reasons}")
        try:
            data, epochs = {name: saved.data[name] for name in grid.data}, _epochs(saved, grid.cells)
        except KeyError as error:
            raise ConfigError(f"{self.path / GRID} is damaged or of another version: {first_line(error)}") from error
        for name, shape in data.items():
            if shape.sha256 != grid.data[name].sha256:
                raise ConfigError(
                    f"{where}, whose {name} had the SHA-256 {shape.sha256[:12]}..., and here it is "
                    f"{grid.data[name].sha256[:12]}...; valid: the data that it was begun with"
                )
        minutes = saved.config.get("minutes", 0)
        if minutes != grid.config.minutes:
            begun = f"minutes={minutes:g}" if epochs else "no limit that cut them"
            print(f"the epochs are those that {self.path} was begun with: {begun}", flush=True)
        return dataclasses.replace(grid, epochs=epochs)

    def _is_foreign(self) -> bool:
        """Whether files are there that no grid brought, which would be overwritten or removed."""
        files = (file for file in self.path.rglob("*") if not file.is_dir())
        # The lock and the grid itself may be of a worker that begins at the same time.
        other = any(file.name != LOCK and not is_part(file) for file in files)
        return other and not (self.path / GRID).exists()

    def _write_grid(self, grid: Grid) -> None:
        needed = sum(4 * grid.data[cell.dataset].test * len(grid.data[cell.dataset].classes) for cell in grid.cells)
        if needed > MOST_BYTES - REPORT_BYTES:
            raise ConfigError(
                f"the predictions of {len(grid.cells)} trainings take {needed / 2**20:.0f} MiB; valid for one folder: "
                f"{(MOST_BYTES - REPORT_BYTES) / 2**20:.0f} MiB, so give parts of the grid folders of their own"
            )
        epochs = planned_epochs(grid)  # before it is written: a refused grid must not occupy the folder
        saved = SavedGrid(
            id=uuid4().hex,
            started=int(time.time() * 1000),
            digest=grid.digest(),
            config=grid.config.model_dump(),
            data=dict(grid.data),
            epochs={file_name(cell): count for cell, count in epochs.items()},
        )
        with self._writing():
            write_whole(self.path / GRID, saved.model_dump_json(indent=1).encode())

    def claimed(self, cell: Cell) -> AbstractContextManager[bool]:
        """Hold the right to train a cell if no other process does; yields whether it is held."""
        return file_lock(self.path / UNFINISHED / f"{file_name(cell)}.lock", wait=False)

    def recorder(self, cell: Cell) -> Recorder:
        """Takes what the training of a cell logs, from where it was cut off."""
        return Recorder(self.path / UNFINISHED / file_name(cell))

    def pack(self, cell: Cell, recorder: Recorder, cells: int) -> None:
        """Put a finished training into its file.

        Numbers, reports and predictions always; figures, then pictures of mistakes, then weights only while all that is
        there stays within what `cells` such files may take.
        """
        share = (MOST_BYTES - REPORT_BYTES) // cells
        aside = self.path / UNFINISHED / f"{file_name(cell)}.zip"
        with self._alone():
            there = list((self.path / CELLS).glob("*.zip"))
            room = share * (len(there) + 1) - sum(file.stat().st_size for file in there)
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.comment = self._digest.encode()
                for needed, files in parts(recorder.folder):
                    size = sum(file.stat().st_size for file in files)
                    if needed or (archive.fp and archive.fp.tell() + size <= room):
                        for file in files:
                            archive.write(file, file.relative_to(recorder.folder))
            aside.replace(self._file(cell))
        shutil.rmtree(recorder.folder, ignore_errors=True)

    def finished(self, grid: Grid) -> dict[Cell, Packed]:
        """The finished trainings of a grid; a damaged file is none, and can be told by `faults`."""
        return {cell: packed for cell, packed in self._read(grid) if isinstance(packed, Packed)}

    def faults(self, grid: Grid) -> list[str]:
        """A line for each file among the results that cannot be used."""
        known = {self._file(cell) for cell in grid.cells}
        strange = [path for path in sorted((self.path / CELLS).glob("*")) if path not in known]
        found = [packed for _, packed in self._read(grid) if isinstance(packed, str)]
        return [*found, *(f"{path} is no training of this grid" for path in strange)]

    def write_reports(self, folder: Path) -> None:
        """Take the tables over, and the page, which has the figures, if it fits."""
        room = REPORT_BYTES
        for file in sorted((folder / REPORTS).iterdir(), key=lambda file: file.stat().st_size):
            room -= file.stat().st_size
            if room >= 0:
                write_whole(self.path / REPORTS / file.name, file.read_bytes())
            else:
                print(f"warning: {file.name} is too large for {self.path}; an import makes it anew", file=sys.stderr)

    def tidy(self) -> None:
        """Remove what only resuming needs."""
        shutil.rmtree(self.path / UNFINISHED, ignore_errors=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"out is {str(self.path)!r}, and nothing can be written there: {reason}") from error

    def _in_turn(self) -> AcquireReturnProxy:
        """Keeps other workers away, as `_alone`, with a note while it waits: the other may measure for minutes."""
        lock = self._alone()
        try:
            return lock.acquire(timeout=SILENT_SECONDS)
        except Timeout:
            print("waiting for another worker, which begins this comparison", flush=True)
            return lock.acquire()

    def _alone(self) -> BaseFileLock:
        """Keeps other workers away from what all of them write."""
        return FileLock(self.path / UNFINISHED / LOCK)

    def _file(self, cell: Cell) -> Path:
        return self.path / CELLS / f"{file_name(cell)}.zip"

    def _read(self, grid: Grid) -> Iterator[tuple[Cell, Packed | str]]:
        """Each cell that has a file, with what is in it or what is wrong with it."""
        for cell in grid.cells:
            file = self._file(cell)
            with contextlib.suppress(FileNotFoundError):
                yield cell, checked(grid, cell, file, self._digest)


def _check_plan(config: CompareConfig, cells: Sequence[Cell], data: Mapping[str, Shape]) -> None:
    """Raise ConfigError for a plan that this program cannot have written."""
    if len(set(cells)) < len(cells):
        raise ConfigError("it names a training twice")
    for dataset in config.datasets.split(","):
        shape = data[dataset_name(dataset)]
        size = getattr(training_config(config, cells[0].model, dataset, seed=0), "image_size", 0)
        of_images = shape.channels in (1, 3) and len(shape.classes) > 1
        if min(shape.train, shape.val, shape.test) < 1 or shape.size != size or bool(size) != of_images:
            raise ConfigError(f"{dataset_name(dataset)} cannot have the sizes that it says")


def _epochs(saved: SavedGrid, cells: Sequence[Cell]) -> dict[Cell, int]:
    return {cell: saved.epochs[file_name(cell)] for cell in cells if saved.epochs}


def file_name(cell: Cell) -> str:
    """What the files of a cell are called."""
    return f"{cell.model}_{cell.dataset}_seed{cell.seed}"
