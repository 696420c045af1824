"""What a comparison must know of the kind of models that it compares: names, metrics, what runs leave, figures."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from experiments.comparison.results import CellResult, Extra, Findings
    from experiments.config import FamilyNames
    from experiments.training.family import Family

# Named, not imported: each loads what its own models need.
KINDS = {"cnn": "experiments.comparison.cnn:CnnKind", "seq2seq": "experiments.comparison.seq2seq:Seq2SeqKind"}
NOTES = (
    "Intervals: with several seeds, Student's 95 % t-interval of the mean over seeds; with one seed, or when all seeds "
    "gave the same result, Wilson's 95 % interval over the test items, for the main accuracy only. Models whose "
    "intervals overlap are called not distinguishable.",
    "Seconds: all epochs of one training run with their validation, without tracking and test. Examples/s: median over "
    "epochs, training only. Both depend on the machine and its load.",
)


class Cell(NamedTuple):
    """One training of a grid."""

    model: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}, seed {self.seed}"


class Shape(NamedTuple):
    """Numbers of examples of a data set, and its digest; of images also what their networks are built for."""

    train: int
    val: int
    test: int
    sha256: str = ""
    channels: int = 0
    size: int = 0
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FinishedRun:
    """What a finished training left behind, in MLflow or in a folder of results.

    Attributes:
        history: the values of a metric, epoch by epoch; none for one that it does not have.
        file: one of its artifacts by name, while it is needed; raises FileNotFoundError without it.
    """

    run_id: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Callable[[str], Sequence[float]]
    file: Callable[[str], AbstractContextManager[Path]]


class FigureSpec(NamedTuple):
    """A figure: the end of its file's name, its caption, and what writes it to a path."""

    name: str
    caption: str
    save: Callable[[Path], None]


class Kind(ABC):
    """One kind of comparison.

    Attributes:
        names: what may be compared.
        metric: the metric that decides, without its prefix `test_` or `val_`.
        history: the metrics whose curves are read and written to `curves.csv`.
        metrics: the columns of the leaderboard, the deciding one first.
        items: what a test item is called, and what an example of training.
        notes: how the numbers were measured, for the end of the report.
    """

    family: ClassVar[Family[Any, Any]]
    names: ClassVar[FamilyNames]
    metric: ClassVar[str]
    history: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[str, ...]]
    items: ClassVar[str]
    notes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def default_models(self, device: str) -> str:
        """What `models=auto` means on a device."""

    def shape(self, training: Any) -> Shape:
        """The sizes of a training's data, and its digest."""
        data = training.data
        return Shape(len(data.train), len(data.val), len(data.test), training.identity.sha256)

    @abstractmethod
    def read(self, run: FinishedRun, known: Mapping[str, Any]) -> CellResult:
        """What a finished run left behind; `known` are the fields that all kinds have."""

    def flops(self, model: str, data: Shape) -> int | None:  # noqa: ARG002
        """FLOPs of one example, where they are counted."""
        return None

    @abstractmethod
    def figures(self, findings: Findings, data: Shape, cells: Sequence[Any]) -> list[FigureSpec]:
        """The figures of one data set, besides those of metrics and costs."""

    def extra(self, cells: Sequence[Any]) -> Mapping[str, Extra]:  # noqa: ARG002
        """More tables about one data set, by name."""
        return {}


def kind_of(name: str) -> Kind:
    """The kind of comparison by its contract name, one of KINDS."""
    module, class_name = KINDS[name].split(":")
    return getattr(importlib.import_module(module), class_name)()
