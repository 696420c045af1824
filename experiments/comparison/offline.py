"""Training a grid without MLflow: into a folder of results, which `import_results` brings into MLflow later.

Nothing here, or below it, imports MLflow, Optuna or another library that a machine for training may lack.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from experiments.comparison.duration import Clock
from experiments.comparison.folder import ResultsFolder
from experiments.comparison.grid import Grid, make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import PAGE, CompareResult, write_report
from experiments.comparison.runner import GridRunner, announced, settled_as
from experiments.config import CompareConfig, TrainingError
from experiments.data.images import kept_in_memory
from experiments.training.family import Result
from experiments.training.offline import train_offline


def compare_offline(config: CompareConfig) -> CompareResult | None:
    """Train the cells of a grid that the folder `out` does not have, and write a report of what is there.

    The same command resumes; at the same time, in another process, it takes its share of the cells, and the result is
    None for a worker that does not end last. Raises UserError before anything is trained if the configuration or the
    folder cannot work, TrainingError if every cell fails, or some of a worker that writes no report.
    """
    folder = ResultsFolder(Path(config.out))
    with kept_in_memory():
        grid = folder.begin(make_grid(config))
        for fault in folder.faults(grid):
            print(f"warning: {fault}", file=sys.stderr)
        there = folder.finished(grid)
        clock = announced(grid, [cell for cell in grid.cells if cell not in there])
        runner = OfflineRunner(grid, clock, folder)
        try:
            busy = runner.work()
        except KeyboardInterrupt as stopped:
            done = _report(grid, folder, {}) is not None
            has = "has what is finished" if done else "has no finished training yet"
            stopped.add_note(f"{folder.path} {has}; the same command resumes")
            raise
        if busy:
            print(f"another worker trains {busy[0]}, and the last one writes the report")
            runner.fail_if_some_did()
            return None
        there = folder.finished(grid)
        failures = {cell: runner.failures.get(cell, "no finished training") for cell in grid.cells if cell not in there}
        result = _report(grid, folder, failures)
        if result is None:
            raise TrainingError(f"every training failed ({len(failures)}); the first: {next(iter(failures.values()))}")
        if not failures:
            folder.tidy()
        return result


def _report(grid: Grid, folder: ResultsFolder, failures: Mapping[Cell, str]) -> CompareResult | None:
    """The report of what is finished; None if nothing is."""
    runs = {cell: packed.left_behind() for cell, packed in folder.finished(grid).items()}
    if not runs:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        findings = write_report(grid, runs, failures, Path(temporary), {"results": folder.path.name})
        folder.write_reports(Path(temporary))
    return CompareResult("", findings, failures, str(folder.path / PAGE))


class OfflineRunner(GridRunner):
    """Trains cells into a folder of results."""

    def __init__(self, grid: Grid, clock: Clock, folder: ResultsFolder) -> None:
        super().__init__(grid, clock)
        self.folder = folder

    def work(self) -> list[Cell]:
        """Train what no other worker does, also what one that died left; returns the cells that others train."""
        tried: set[Cell] = set()
        while True:
            there, before = self.finished(), len(tried)
            left = [cell for cell in self.grid.cells if cell not in there and cell not in tried]
            for cell in left:
                with self.folder.claimed(cell) as mine:
                    if mine:
                        tried.add(cell)
                        self.train(str(cell))
            if len(tried) == before:
                return left

    def finished(self) -> Mapping[Cell, object]:
        return self.folder.finished(self.grid)

    def run(self, cell: Cell) -> tuple[Result, bool]:
        recorder, there = self.folder.recorder(cell), self.folder.finished(self.grid)
        alike = [other for other in self.grid.cells if other[:2] == cell[:2] and other != cell]
        others = [there[one].record if one in there else self.folder.recorder(one).record for one in alike]
        others.sort(key=lambda record: record.started)
        # As in `run.TrackedRunner`: as it began itself, else as the first of the other seeds.
        known = [(record.params, record.tags.get("hardware", "")) for record in (recorder.record, *others)]
        config = settled_as(self.grid.cell_config(cell), known)
        result, whole = train_offline(self.grid.kind.family, config, recorder)
        self.folder.pack(cell, recorder, len(self.grid.cells))
        return result, whole
