"""What a comparison consists of: its cells, checked before anything runs, their digest, and how long they will take."""

import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from experiments.comparison.kind import Cell, Kind, Shape, kind_of
from experiments.config import CompareConfig, ConfigError, TrainConfig, dataset_name, is_own, names_in, training_config
from experiments.training import autotune, devices
from experiments.training.family import Training
from experiments.training.resume import CAME_LATER, deciding

# What makes one grid another; the rest of a configuration may differ between a comparison and its continuation.
GRID_FIELDS = ("kind", "models", "datasets", "seeds", "epochs", "train_size", "image_size", "weights")
STEPS = 5
EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
# What a training costs besides its steps, measured on two CPU cores: figures, model and registry; checkpoint and log.
SECONDS_PER_CELL, SECONDS_PER_EPOCH = 2.0, 0.05


@dataclass(frozen=True)
class Grid:
    """A comparison ready to run; in `config` every `auto` but `epochs` is decided and lists are written out."""

    kind: Kind
    config: CompareConfig
    cells: tuple[Cell, ...]
    data: Mapping[str, Shape]

    @property
    def title(self) -> str:
        """Such as `6 models on digits, 2 seeds`."""
        models, seeds = self.config.models.split(","), self.config.seeds
        names = models[0] if len(models) == 1 else f"{len(models)} models"
        return f"{names} on {' and '.join(self.data)}, {seeds} seed{'s' if seeds > 1 else ''}"

    def cell_config(self, cell: Cell) -> Any:
        """The training that a cell stands for, as `family.decide` gives it."""
        paths = {dataset_name(dataset): dataset for dataset in self.config.datasets.split(",")}
        return self.kind.family.decide(training_config(self.config, cell.model, paths[cell.dataset], cell.seed))

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
    device = devices.resolve_device(config.device)
    models = names_in("models", config.models, kind.models, kind.groups, kind.default_models(device))
    datasets = names_in("datasets", config.datasets, kind.datasets, {}, kind.datasets[0], paths=config.kind == "cnn")
    names = [dataset_name(dataset) for dataset in datasets]
    if len(set(names)) < len(names):
        raise ConfigError(f"datasets has two that are called the same ({', '.join(names)}); valid: rename a folder")
    decided = config.replace(models=",".join(models), datasets=",".join(datasets), device=device)
    # Seed by seed: if it is cut off early, all models have been trained as often as each other.
    cells = tuple(Cell(m, d, seed) for d in names for seed in range(config.seeds) for m in models)
    data: dict[str, Shape] = {}
    grid = Grid(kind, decided, cells, data)
    for cell in cells[:: config.seeds * len(models)]:
        data[cell.dataset] = kind.shape(grid.prepare(grid.cell_config(cell).replace(batch_size=1)))
    for cell in cells:
        size, examples = grid.cell_config(cell).batch_size, data[cell.dataset].train
        if size > examples:
            raise ConfigError(f"train_size is {examples}; valid: at least {size}, the batch size of {cell.model}")
    return grid


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The fields in which another comparison is of another grid."""
    found = []
    for name in GRID_FIELDS:
        here, there = mine[name], theirs.get(name, CAME_LATER.get(name))
        if name in ("models", "datasets"):
            here, there = (",".join(sorted(str(value).split(","))) for value in (here, there))
        if here != there:
            values = ("auto" if value is None else value for value in (mine[name], theirs.get(name)))
            found.append("{} is {!r} and was {!r}".format(name, *values))
    return found or ["your own data, or the recipes of its models, have changed"]


def estimate(grid: Grid, cells: Iterable[Cell]) -> dict[Cell, float]:
    """Seconds that each cell will take, from a few steps of each network on each data set."""
    speeds: dict[tuple[str, str], float] = {}
    estimates = {}
    for cell in cells:
        config, key = grid.cell_config(cell), (cell.model, cell.dataset)
        if key not in speeds:
            settled, _ = autotune.settle(grid.kind.family, config)
            speeds[key] = seconds_per_example(grid.prepare(settled))
        data = grid.data[cell.dataset]
        examples = data.train + EVALUATION_SHARE * data.val
        estimates[cell] = config.epochs * (examples * speeds[key] + SECONDS_PER_EPOCH) + SECONDS_PER_CELL
    return estimates


def seconds_per_example(training: Training) -> float:
    """What a training step takes for each example, by a few steps after the first."""
    state, seconds, examples = training.state, 0.0, 0
    state.model.train()
    for number, batch in enumerate(itertools.islice(training.batches.epoch(1), STEPS)):
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
    """The time that a grid still needs: the estimates, scaled by how long finished cells really took."""

    def __init__(self, estimates: dict[Cell, float]) -> None:
        self.waiting = dict(estimates)
        self._estimated = self._taken = 0.0

    def done(self, cell: Cell, seconds: float | None) -> None:
        """Count a finished cell and its seconds; None for one that failed, whose time says nothing."""
        estimated = self.waiting.pop(cell, None)  # none if it is trained again
        if seconds is not None and estimated is not None:
            self._estimated += estimated
            self._taken += seconds

    def forget(self, cells: Iterable[Cell]) -> None:
        """No longer wait for cells that other workers have trained."""
        for cell in cells:
            self.waiting.pop(cell, None)

    @property
    def left(self) -> float:
        """Seconds."""
        return sum(self.waiting.values()) * (self._taken / self._estimated if self._estimated else 1.0)
