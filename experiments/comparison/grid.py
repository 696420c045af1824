"""What a comparison consists of: its cells, checked before anything runs, their digest, and how long they will take."""

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from experiments.comparison.kind import Cell, Kind, Shape, kind_of
from experiments.config import (
    CompareConfig,
    ConfigError,
    TrainConfig,
    check_image_size,
    dataset_name,
    is_own,
    names_in,
    training_config,
)
from experiments.training import autotune, devices
from experiments.training.continuation import CAME_LATER, deciding
from experiments.training.family import Training

# What makes one grid another; the rest of a configuration may differ between a comparison and its continuation.
GRID_FIELDS = ("kind", "models", "datasets", "seeds", "epochs", "train_size", "image_size", "weights")
STEPS = 5
EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
# What a training costs besides its steps, measured on two CPU cores: figures, model and registry; checkpoint and log.
SECONDS_PER_CELL, SECONDS_PER_EPOCH = 2.0, 0.05


@dataclass(frozen=True)
class Grid:
    """A comparison ready to run; in `config` every `auto` but `epochs` is decided and lists are written out.

    `epochs` are those of trainings that get fewer than their configuration says; `speeds` the measured seconds an
    example, by model and data set.
    """

    kind: Kind
    config: CompareConfig
    cells: tuple[Cell, ...]
    data: Mapping[str, Shape]
    epochs: Mapping[Cell, int] = field(default_factory=dict)
    speeds: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Such as `6 models on digits, 2 seeds`."""
        models, seeds = self.config.models.split(","), self.config.seeds
        names = models[0] if len(models) == 1 else f"{len(models)} models"
        return f"{names} on {' and '.join(self.data)}, {seeds} seed{'s' if seeds > 1 else ''}"

    def cell_config(self, cell: Cell) -> Any:
        """The training that a cell stands for, as `family.decide` gives it."""
        paths = {dataset_name(dataset): dataset for dataset in self.config.datasets.split(",")}
        config = training_config(self.config, cell.model, paths[cell.dataset], cell.seed)
        # Before the rest is decided: for how many epochs pretrained layers stay as they are depends on it.
        return self.kind.family.decide(config.replace(epochs=self.epochs.get(cell, config.epochs)))

    def prepare(self, config: TrainConfig) -> Training:
        """A training made ready, on the grid's device."""
        return self.kind.family.prepare(config, devices.make_accelerator(config.device, config.precision))

    def digest(self) -> str:
        """SHA-256 of all that decides what is trained, in whatever order models and data sets were named."""
        decisive: list[Any] = [deciding(self.cell_config(cell)) for cell in sorted(self.cells)]
        # A path says nothing of what is there now.
        decisive += sorted(
            self.data[dataset_name(dataset)].sha256 for dataset in self.config.datasets.split(",") if is_own(dataset)
        )
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def make_grid(config: CompareConfig) -> Grid:
    """Check all that can be checked before a run is made, and load every data set once.

    Raises ConfigError for names, sizes and devices that do not exist, DataError for data that is not to be had.
    """
    kind = kind_of(config.kind)
    valid = kind.names
    device = devices.resolve_device(config.device)
    models = names_in("models", config.models, valid.models, valid.groups, kind.default_models(device))
    datasets = names_in("datasets", config.datasets, valid.datasets, {}, valid.datasets[0], valid.own_data)
    check_image_size(config.image_size, datasets)
    names = [dataset_name(dataset) for dataset in datasets]
    if len(set(names)) < len(names):
        raise ConfigError(f"datasets has two that are called the same ({', '.join(names)}); valid: rename a folder")
    decided = config.replace(models=",".join(models), datasets=",".join(datasets), device=device)
    cells = cells_of(decided)
    data: dict[str, Shape] = {}
    grid = Grid(kind, decided, cells, data)
    for cell in cells[:: config.seeds * len(models)]:
        training = grid.prepare(grid.cell_config(cell).replace(batch_size=1))
        data[cell.dataset] = kind.shape(training)
        for warning in training.warnings:  # here, once, and not for each of its trainings
            print(f"warning: {warning}", file=sys.stderr)
    for cell in cells:
        size, examples = grid.cell_config(cell).batch_size, data[cell.dataset].train
        if size > examples:
            raise ConfigError(f"train_size is {examples}; valid: at least {size}, the batch size of {cell.model}")
    return grid


def cells_of(config: CompareConfig) -> tuple[Cell, ...]:
    """The trainings of a decided configuration, seed by seed: cut off early, all models had the same number of them."""
    models, names = config.models.split(","), map(dataset_name, config.datasets.split(","))
    return tuple(Cell(m, name, seed) for name in names for seed in range(config.seeds) for m in models)


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The fields in which another comparison is of another grid."""
    found = []
    for name in GRID_FIELDS:
        before = theirs.get(name, CAME_LATER.get(name))
        here, there = mine[name], before
        if name in ("models", "datasets"):
            here, there = (",".join(sorted(str(value).split(","))) for value in (here, there))
        if here != there:
            values = ("auto" if value is None else value for value in (mine[name], before))
            found.append("{} is {!r} and was {!r}".format(name, *values))
    return found or ["your own data, or the recipes of its models, have changed"]


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


def cut_epochs(grid: Grid, seconds: float) -> dict[Cell, int]:
    """Epochs of each cell with which all of them take `seconds`: the same fraction of each, at least one.

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
