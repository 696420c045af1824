"""What a comparison consists of: its cells, checked before anything runs, and a digest that says which grid it is."""

import dataclasses
import difflib
import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from experiments import devices
from experiments.config import CNN_MODELS, IMAGE_DATASETS, CnnConfig, CompareConfig, ConfigError
from experiments.data import load_images
from experiments.recipes import resolve
from experiments.resume import FREE_TO_CHANGE

MODEL_GROUPS = {
    "small": ("lenet5", "alexnet_small", "vgg_small", "resnet20", "xception_small", "seresnet20"),
    "full": ("lenet5", "alexnet", "vgg16_bn", "resnet18", "xception", "seresnet18"),
}
# What makes one grid another; the rest of a configuration may differ between a comparison and its continuation.
GRID_FIELDS = ("kind", "models", "datasets", "seeds", "epochs", "train_size")


class Cell(NamedTuple):
    """One training of a grid."""

    model: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, seed {self.seed}"


class DataShape(NamedTuple):
    """What a comparison needs to know of a data set before and after training on it."""

    train: int
    val: int
    test: int
    channels: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A comparison ready to run; in `config` every `auto` but `epochs` is decided and lists are written out."""

    config: CompareConfig
    cells: tuple[Cell, ...]
    data: dict[str, DataShape]

    @property
    def models(self) -> list[str]:
        return self.config.models.split(",")

    @property
    def title(self) -> str:
        """Such as `6 models on digits, 2 seeds`."""
        models, seeds = len(self.models), self.config.seeds
        names = self.models[0] if models == 1 else f"{models} models"
        return f"{names} on {' and '.join(self.data)}, {seeds} seed{'s' if seeds > 1 else ''}"

    def digest(self) -> str:
        """SHA-256 of all that decides what is trained, in whatever order models and data sets were named."""
        cells = []
        for cell in sorted(self.cells):
            fields = dataclasses.asdict(resolve(cell_config(self.config, cell)))
            cells.append({name: value for name, value in fields.items() if name not in FREE_TO_CHANGE})
        return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def cell_config(config: CompareConfig, cell: Cell) -> CnnConfig:
    """The training that a cell stands for."""
    shared = ("epochs", "train_size", "data_dir", "device", "precision", "threads", "register")
    return CnnConfig(**cell._asdict(), **{name: getattr(config, name) for name in shared})


def make_grid(config: CompareConfig) -> Grid:
    """Check all that can be checked before a run is made, and load every data set once.

    Raises ConfigError for names, sizes and devices that do not exist, DataError for data that is not to be had.
    """
    device = devices.resolve_device(config.device)
    precision = devices.resolve_precision(config.precision, device)
    models = _names("models", config.models, CNN_MODELS, MODEL_GROUPS, "small" if device == "cpu" else "full")
    datasets = _names("datasets", config.datasets, IMAGE_DATASETS, {}, "digits")
    if config.threads:
        torch.set_num_threads(config.threads)
    data = {name: _shape(name, config) for name in datasets}
    decided = dataclasses.replace(
        config, models=",".join(models), datasets=",".join(datasets), device=device, precision=precision
    )
    # Seed by seed: if it is cut off early, all models have been trained as often as each other.
    cells = tuple(Cell(m, d, seed) for d in datasets for seed in range(config.seeds) for m in models)
    for cell in cells:
        _check_batch_size(resolve(cell_config(decided, cell)), data[cell.dataset])
    return Grid(decided, cells, data)


def _names(
    field: str, text: str, valid: tuple[str, ...], groups: dict[str, tuple[str, ...]], automatic: str
) -> list[str]:
    """The names in a comma-separated list, groups written out, each once, in the order given."""
    names: dict[str, None] = {}
    for word in (part.strip() for part in text.split(",")):
        name = automatic if word == "auto" else word
        names |= dict.fromkeys(groups.get(name, (name,) if name else ()))
    if not names:
        raise ConfigError(f"{field} is {text!r}, which names nothing: the grid is empty; valid: {', '.join(valid)}")
    for name in names:
        if name not in valid:
            close = difflib.get_close_matches(name, (*valid, *groups), n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"{field} names {name!r}; {hint}valid: {', '.join((*groups, *valid))}")
    return list(names)


def _shape(name: str, config: CompareConfig) -> DataShape:
    data = load_images(name, config.data_dir, train_size=config.train_size)
    return DataShape(len(data.train), len(data.val), len(data.test), data.channels, data.classes)


def _check_batch_size(config: CnnConfig, data: DataShape) -> None:
    if config.batch_size > data.train:
        raise ConfigError(
            f"train_size is {config.train_size}; valid: at least {config.batch_size}, the batch size of {config.model}"
        )


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
