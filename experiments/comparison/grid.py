"""What a comparison consists of: its cells, checked before anything runs, and their digest."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
from experiments.training import devices
from experiments.training.continuation import CAME_LATER, deciding
from experiments.training.family import Training

# What makes one grid another; the rest of a configuration may differ between a comparison and its continuation.
GRID_FIELDS = ("kind", "models", "datasets", "seeds", "epochs", "train_size", "image_size", "weights")


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
