"""What a comparison must know of the kind of models that it compares: their names, how to train and how to report."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from experiments.comparison.analysis import analyze
from experiments.comparison.results import CellResult, Extra, Findings, leaderboard, models_of, paired_tests
from experiments.reports.page import Figures

if TYPE_CHECKING:
    from experiments.config import CompareConfig, TrainConfig
    from experiments.training.family import Result

# Named, not imported: each loads what its own models need.
KINDS = {"cnn": "experiments.comparison.cnn:CnnKind", "seq2seq": "experiments.comparison.seq2seq:Seq2SeqKind"}


NOTES = (
    "Intervals: with several seeds Student's 95 % t-interval of the mean over seeds; with one seed, or when all seeds "
    "gave the same, Wilson's 95 % interval over the test items, for the deciding accuracy only. Models whose intervals "
    "overlap are called not distinguishable.",
    "Seconds: all epochs of one training with their validation, without tracking and tests. Examples/s: median over "
    "epochs, training only. Both depend on the machine and on what else it was doing.",
)


class Cell(NamedTuple):
    """One training of a grid."""

    model: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class DataShape:
    """Numbers of examples of a data set; a kind may keep more about it."""

    train: int
    val: int
    test: int


class Kind(ABC):
    """One kind of comparison.

    Attributes:
        models, groups, datasets: valid names, and names that stand for several models.
        default_dataset: what `auto` means.
        metric: the metric that decides, without its prefix `test_` or `val_`.
        history: the metrics whose curves are read and written to `curves.csv`.
        metrics: the columns of the leaderboard, the deciding one first.
        items: what a test item is called, and what an example of training.
        notes: how the numbers were measured, for the end of the report.
    """

    models: ClassVar[tuple[str, ...]]
    groups: ClassVar[Mapping[str, tuple[str, ...]]]
    datasets: ClassVar[tuple[str, ...]]
    default_dataset: ClassVar[str]
    metric: ClassVar[str]
    history: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[str, ...]]
    items: ClassVar[str]
    notes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def default_models(self, device: str) -> str:
        """What `models=auto` means on a device."""

    @abstractmethod
    def shape(self, dataset: str, config: CompareConfig) -> DataShape:
        """Load a data set once. Raises ConfigError or DataError for what is not to be had."""

    @abstractmethod
    def cell_config(self, config: CompareConfig, cell: Cell) -> TrainConfig:
        """The training that a cell stands for, with every `auto` of its recipe decided but those of the machine."""

    @abstractmethod
    def check(self, config: Any, data: DataShape) -> None:
        """Raise ConfigError if a training cannot work with data of this size."""

    @abstractmethod
    def seconds_per_example(self, cell: Cell, data: DataShape, config: CompareConfig) -> float:
        """Time a training step of a cell's network, in the real precision, on noise."""

    @abstractmethod
    def train(self, config: Any, given: frozenset[str], parent: str) -> Result | None:
        """Train one cell."""

    @abstractmethod
    def read(self, cell: Cell, run: Any, history: Mapping[str, Any]) -> CellResult:
        """What a finished run left behind."""

    @abstractmethod
    def costs(self, model: str, data: DataShape) -> tuple[int, int | None]:
        """Parameters of a model, and FLOPs of one example where they are counted."""

    @abstractmethod
    def draw(self, folder: Path, findings: Findings, data: DataShape, cells: Sequence[Any]) -> Figures:
        """Draw the figures of one data set as files in `folder`; returns them with their captions."""

    def extra(self, cells: Sequence[Any]) -> Mapping[str, Extra]:  # noqa: ARG002
        """More tables about one data set, by name."""
        return {}

    def findings(self, data: DataShape, cells: Sequence[CellResult]) -> Findings:
        """Numbers and sentences about one data set."""
        costs = {name: self.costs(name, data) for name in models_of(cells)}
        rows, pairs = leaderboard(cells, costs, self.metrics), paired_tests(cells)
        analysis = analyze(self.metric, rows, pairs, cells, self.items)
        return Findings(cells[0].dataset, self.metrics, tuple(rows), tuple(pairs), analysis, self.extra(cells))

    @abstractmethod
    def title(self, models: Sequence[str], datasets: Sequence[str], seeds: int) -> str:
        """Such as `6 models on digits, 2 seeds`."""


def kind_of(name: str) -> Kind:
    """The kind of comparison by its contract name, one of KINDS."""
    module, class_name = KINDS[name].split(":")
    return getattr(importlib.import_module(module), class_name)()
