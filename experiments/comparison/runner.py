"""Training the cells of a comparison one after the other, whoever keeps them, and saying how far all of it is."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from tqdm import tqdm

from experiments.comparison.duration import Clock, estimate, refuse_too_long, trainings
from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell
from experiments.config import TrainingError
from experiments.reports.text import format_duration
from experiments.training import devices
from experiments.training.continuation import OPEN, RESUMING
from experiments.training.family import Result
from experiments.training.progress import one_of_many
from tasks.disk import full_disk


class GridRunner(ABC):
    """Trains cells of a comparison in this process.

    Attributes:
        failures: what failed here, and why.
    """

    def __init__(self, grid: Grid, clock: Clock) -> None:
        self.grid, self.clock = grid, clock
        self.failures: dict[Cell, str] = {}

    @abstractmethod
    def finished(self) -> Mapping[Cell, Any]:
        """The cells that are finished by now, whoever trained them."""

    @abstractmethod
    def run(self, cell: Cell) -> tuple[Result, bool]:
        """Train a cell, or the rest of it; returns also whether all of it was trained now."""

    def fail_if_some_did(self) -> None:
        """Raise TrainingError if trainings failed here, in a worker that does not write the report."""
        if self.failures:
            raise TrainingError(f"{len(self.failures)} failed here (see above); the same command tries again")

    def train(self, name: str) -> bool:
        """Train a cell by its name; returns whether it is finished. Why it is not is noted and said."""
        cell = next(cell for cell in self.grid.cells if str(cell) == name)
        finished = self.finished()
        if cell in finished:
            return True
        self.failures.pop(cell, None)
        started, total, out = time.perf_counter(), len(self.grid.cells), sys.stdout
        done = len(finished) + len(self.failures)
        with tqdm(
            total=total, initial=done, desc=name, unit="run", disable=not sys.stderr.isatty(), leave=False
        ) as bar:

            def show(line: str) -> None:
                if line.startswith(RESUMING):
                    tqdm.write(f"{name}: {line}", file=out)
                bar.set_postfix_str(line)

            try:
                with one_of_many(show):
                    result, whole = self.run(cell)
                seconds = time.perf_counter() - started
                self.clock.done(cell, seconds if whole else None)
                metric = self.grid.kind.metric
                outcome = f"test {metric.replace('_', ' ')} {result.metrics[f'test_{metric}']:.4f}, {seconds:.1f} s"
            except Exception as error:  # whatever a cell dies of (memory, a disk, a bug), the others are run
                self.failures[cell] = " ".join(f"{full_disk(error) or error or type(error).__name__}".split())[:300]
                self.clock.done(cell, None)
                outcome = f"FAILED: {self.failures[cell]}"
        finished = self.finished()  # other workers had as much time
        self.clock.forget(finished)
        done = len(finished.keys() | self.failures.keys())
        left = f"; about {format_duration(self.clock.left)} left" if self.clock.waiting else ""
        print(f"{done:{len(str(total))}}/{total}  {name}: {outcome}{left}", flush=True)
        return cell not in self.failures


def settled_as(config: Any, others: Iterable[tuple[Mapping[str, str], str]]) -> Any:
    """A configuration with what it leaves open as the first of other trainings on the same device has it.

    `others` are parameters and hardware; a number of threads holds for the same hardware only. Nothing is taken from a
    training in another precision than the one that is asked for.
    """
    for known, hardware in others:
        precision = known.get("precision")
        if known.get("device") == config.device and precision and config.precision in ("auto", precision):
            same = hardware == devices.describe(config.device)["hardware"]
            form = known.get("memory_format", "channels_last")
            found = {"precision": precision, "memory_format": form, "threads": int(known["threads"]) if same else 0}
            left_open = {name for name, value in OPEN.items() if getattr(config, name) == value}
            return config.replace(**{name: found[name] for name in left_open})
    return config


def announced(grid: Grid, missing: list[Cell]) -> Clock:
    """Estimate the time, say it, and refuse what takes too long unless the user confirmed it."""
    estimates = estimate(grid, missing)
    clock = Clock(estimates)
    done = len(grid.cells) - len(missing)
    print(
        f"{trainings(missing)}{f' ({done} are finished already)' if done else ''}, "
        f"about {format_duration(clock.left)} on {devices.describe(grid.config.device)['device_name']}",
        flush=True,
    )
    refuse_too_long(grid, estimates)
    return clock
