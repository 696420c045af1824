"""What a comparison consists of: its cells, checked before anything runs, and a digest that says which grid it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from experiments.comparison.kind import Cell, DataShape, Kind, kind_of
from experiments.config import CompareConfig, TrainConfig, names_in
from experiments.training import devices
from experiments.training.resume import FREE_TO_CHANGE

# What makes one grid another; the rest of a configuration may differ between a comparison and its continuation.
GRID_FIELDS = ("kind", "models", "datasets", "seeds", "epochs", "train_size")


@dataclass(frozen=True)
class Grid:
    """A comparison ready to run; in `config` every `auto` but `epochs` is decided and lists are written out."""

    kind: Kind
    config: CompareConfig
    cells: tuple[Cell, ...]
    data: Mapping[str, DataShape]

    @property
    def models(self) -> list[str]:
        return self.config.models.split(",")

    @property
    def title(self) -> str:
        """Such as `6 models on digits, 2 seeds`."""
        return self.kind.title(self.models, list(self.data), self.config.seeds)

    def cell_config(self, cell: Cell) -> TrainConfig:
        """The training that a cell stands for."""
        return self.kind.cell_config(self.config, cell)

    def digest(self) -> str:
        """SHA-256 of all that decides what is trained, in whatever order models and data sets were named."""
        cells = []
        for cell in sorted(self.cells):
            fields = self.cell_config(cell).model_dump()
            cells.append({name: value for name, value in fields.items() if name not in FREE_TO_CHANGE})
        return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def make_grid(config: CompareConfig) -> Grid:
    """Check all that can be checked before a run is made, and load every data set once.

    Raises ConfigError for names, sizes and devices that do not exist, DataError for data that is not to be had.
    """
    kind = kind_of(config.kind)
    device = devices.resolve_device(config.device)
    devices.resolve_precision(config.precision, device)
    models = names_in("models", config.models, kind.models, kind.groups, kind.default_models(device))
    datasets = names_in("datasets", config.datasets, kind.datasets, {}, kind.default_dataset)
    if config.threads:
        torch.set_num_threads(config.threads)
    data = {name: kind.shape(name, config) for name in datasets}
    decided = config.replace(models=",".join(models), datasets=",".join(datasets), device=device)
    # Seed by seed: if it is cut off early, all models have been trained as often as each other.
    cells = tuple(Cell(m, d, seed) for d in datasets for seed in range(config.seeds) for m in models)
    grid = Grid(kind, decided, cells, data)
    for cell in cells:
        kind.check(grid.cell_config(cell), data[cell.dataset])
    return grid


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The fields in which another comparison is of another grid, in words."""
    found = []
    for name in GRID_FIELDS:
        here, there = mine[name], theirs.get(name)
        if name in ("models", "datasets"):
            here, there = (",".join(sorted(str(value).split(","))) for value in (here, there))
        if here != there:
            values = ("auto" if value is None else value for value in (mine[name], theirs.get(name)))
            found.append("{} is {!r} and was {!r}".format(name, *values))
    return found or ["the recipes of its models have changed"]
