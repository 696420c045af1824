"""How long a comparison takes: an estimate before it begins, and what is left while it runs."""

import dataclasses
import itertools
import time
from collections.abc import Collection, Iterable, Mapping

import torch

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell
from experiments.config import ConfigError
from experiments.reports.text import format_duration
from experiments.training import autotune
from experiments.training.family import Training

LONGEST_UNCONFIRMED = 12 * 3600
STEPS = 5
EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
# What a training costs besides its steps, measured on two CPU cores: figures, model and registry; checkpoint and log.
SECONDS_PER_CELL, SECONDS_PER_EPOCH = 2.0, 0.05


def estimate(grid: Grid, cells: Iterable[Cell]) -> dict[Cell, float]:
    """Seconds that each cell will take, from a few steps of each network on each data set."""
    speeds, estimates = grid.speeds, {}
    for cell in cells:
        config, key = grid.cell_config(cell), (cell.model, cell.dataset)
        if key not in speeds:
            settled, _ = autotune.settle(grid.kind.family, config)
            speeds[key] = seconds_per_example(grid.prepare(settled))
        data = grid.data[cell.dataset]
        examples = data.train + EVALUATION_SHARE * data.val
        estimates[cell] = config.epochs * (examples * speeds[key] + SECONDS_PER_EPOCH) + SECONDS_PER_CELL
    return estimates


def planned_epochs(grid: Grid) -> dict[Cell, int]:
    """Epochs of each cell, cut to `minutes` for all; none where the recipes' epochs stand.

    Raises ConfigError as `refuse_too_long` does.
    """
    seconds = 60 * grid.config.minutes
    epochs = _cut_epochs(grid, seconds) if seconds else {}
    estimates = estimate(cut := dataclasses.replace(grid, epochs=epochs), cut.cells)
    refuse_too_long(cut, estimates)
    if seconds and (needed := sum(estimates.values())) > seconds:
        print(
            f"{grid.config.minutes:g} minutes are too few for an epoch of each training, which takes about "
            f"{format_duration(needed)} in all",
            flush=True,
        )
    return epochs


def _cut_epochs(grid: Grid, seconds: float) -> dict[Cell, int]:
    """Epochs with which all cells together take `seconds`: the same fraction of each, at least one.

    None where the recipes' epochs take no longer.
    """
    began = time.monotonic()
    estimates = estimate(grid, grid.cells)
    seconds -= time.monotonic() - began  # trying settings takes up to half a minute a large network
    fixed, total = SECONDS_PER_CELL * len(estimates), sum(estimates.values())
    fraction = (seconds - fixed) / (total - fixed)
    if fraction >= 1:
        return {}
    return {cell: max(1, int(fraction * grid.cell_config(cell).epochs)) for cell in grid.cells}


def refuse_too_long(grid: Grid, estimates: Mapping[Cell, float]) -> None:
    """Raise ConfigError if cells of a grid take too long together, unless the user confirmed it."""
    seconds = sum(estimates.values())
    if seconds > LONGEST_UNCONFIRMED and not grid.config.confirm:
        raise ConfigError(
            f"{trainings(estimates)} would take about {format_duration(seconds)}; compare fewer models, data sets or "
            "seeds, set epochs, or go ahead with confirm=true"
        )


def trainings(cells: Collection[Cell]) -> str:
    """How many there are, as part of a sentence."""
    return "1 training" if len(cells) == 1 else f"{len(cells)} trainings"


def seconds_per_example(training: Training) -> float:
    """What a training step takes for each example, by a few steps after the first."""
    state, seconds, examples = training.state, 0.0, 0
    state.model.train()
    last = training.config.epochs  # images of earlier ones may be smaller
    for number, batch in enumerate(itertools.islice(training.batches.epoch(last), STEPS)):
        started = time.perf_counter()
        with state.accelerator.autocast():
            result = training.step(state.model, batch)
        state.accelerator.backward(result.loss / result.total)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.accelerator.device.type != "cpu":
            torch.accelerator.synchronize()
        if number == 1:  # the first step only counts where it is the only one
            seconds, examples = 0.0, 0
        seconds += time.perf_counter() - started
        examples += result.examples or result.total
    return seconds / examples


class Clock:
    """The time that a grid still needs, by the estimates and by how long finished cells really took.

    A cell will take as long as other seeds of it did. Else its estimate is scaled by what estimates were wrong by so
    far; a cell's worth of estimates that were right counts as well, or a first small one would speak for all. Other
    workers will take the share of the work that they took so far.
    """

    def __init__(self, estimates: dict[Cell, float]) -> None:
        self.waiting = dict(estimates)
        self._estimated = self._taken = sum(estimates.values()) / max(1, len(estimates))
        self._seconds: dict[tuple[str, str], list[float]] = {}
        self._own = self._others = 0.0

    def done(self, cell: Cell, seconds: float | None) -> None:
        """Count a finished cell and its seconds; None for one that failed or was resumed, whose time says nothing."""
        estimated = self.waiting.pop(cell, None)  # none if it is trained again
        if seconds is not None and estimated is not None:
            self._estimated += estimated
            self._taken += seconds
            self._own += seconds
            self._seconds.setdefault((cell.model, cell.dataset), []).append(seconds)

    def forget(self, cells: Iterable[Cell]) -> None:
        """No longer wait for cells that other workers have trained."""
        for cell in cells:
            if cell in self.waiting:
                self._others += self._expected(cell)
                del self.waiting[cell]

    def in_order(self, cells: list[Cell]) -> list[Cell]:
        """Cells in the order of training: as they come, but the last seed's longest first.

        Workers that share the grid then end at about the same time. Not so for the first seed, whose quick results are
        what a user sees first.
        """
        if not cells or cells[-1].seed == 0:
            return cells
        last = cells[-1]
        tail = [cell for cell in cells if (cell.dataset, cell.seed) == (last.dataset, last.seed)]
        return [*cells[: -len(tail)], *sorted(tail, key=self.waiting.__getitem__, reverse=True)]

    @property
    def left(self) -> float:
        """Seconds."""
        share = self._own / (self._own + self._others) if self._own else 1.0
        return share * sum(map(self._expected, self.waiting))

    def _expected(self, cell: Cell) -> float:
        if alike := self._seconds.get((cell.model, cell.dataset)):
            return sum(alike) / len(alike)
        return self.waiting[cell] * (self._taken / self._estimated if self._estimated else 1.0)
