"""What a family of models (CNNs, sequence-to-sequence) brings to the training program that all families share.

`experiments.training.run` runs a `Family`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from accelerate import Accelerator
from torch import nn

from experiments.config import TrainConfig
from experiments.tracking.record import SavedModel
from experiments.training.state import History, Metrics, StepResult, TrainState, best_epoch


class Batches(Protocol):
    """Training batches: `epoch(number)` yields those of an epoch, counted from 1; `len` is their number."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[Any]: ...


@dataclass(frozen=True)
class DataIdentity:
    """Which data a training used: name, where they came from, and what they were, by content and by split."""

    name: str
    origin: str
    sha256: str
    split_sha256: str
    verified: bool

    def tags(self) -> dict[str, str]:
        """The tags of the contract that say which data they were."""
        verified = str(self.verified).lower()
        return {"data_sha256": self.sha256, "split_sha256": self.split_sha256, "data_verified": verified}


@dataclass
class Training(ABC):
    """One training, ready to run on this process.

    Attributes:
        environment: what its bits depend on besides the configuration.
        selected_by: the validation metric that decides which epoch is kept and which model becomes champion.
        columns: the metrics of the result table.
        divisible: whether a batch can be cut into parts; not where its items refer to each other.
        snapshots: a folder with the figures that `snapshot` has drawn so far, also before the run was cut off.
        speed_trial: why it has its precision, memory format and threads; empty where the user set them.
    """

    config: Any
    batches: Batches
    state: TrainState
    environment: dict[str, Any]
    snapshots: Path | None = field(default=None, init=False)
    speed_trial: str = field(default="", init=False)

    selected_by: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    divisible: ClassVar[bool] = False

    @property
    @abstractmethod
    def identity(self) -> DataIdentity:
        """Which data it uses."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know about the data, a line each."""
        data = self.identity
        return [] if data.verified else [f"{data.origin} is not known to be the official data; data_verified=false"]

    @property
    def data_report(self) -> dict[str, Any] | None:
        """What is logged of the user's own data as `reports/data_report.json` when the run begins."""
        return None

    @property
    @abstractmethod
    def title(self) -> str:
        """The run's readable name."""

    @abstractmethod
    def tags(self) -> dict[str, str]:
        """The run's tags of the contract: `task`, `model`, `dataset`."""

    @abstractmethod
    def summary(self) -> str:
        """One line for the terminal: model, size, data."""

    @abstractmethod
    def step(self, model: nn.Module, batch: Any) -> StepResult:
        """Loss and sums of one batch, for the training loop."""

    @abstractmethod
    def evaluate(self, network: nn.Module) -> Metrics:
        """A network's metrics on the validation data."""

    def start_epoch(self, epoch: int) -> None:  # noqa: B027  # most train all of the network all the time
        """Freeze what does not learn in an epoch; the network is in training mode."""

    def solved(self, metrics: Metrics) -> bool:  # noqa: ARG002
        """Whether an epoch's metrics are so good that training ends early."""
        return False

    def snapshot(self, epoch: int, folder: Path) -> None:  # noqa: B027  # most have nothing to draw
        """Draw into `folder` what is worth seeing after an epoch; it is logged under `plots/epochs/`."""

    def best_epoch(self, history: History) -> int:
        """The epoch (from 1) that is kept."""
        return best_epoch(history, self.selected_by)


@dataclass(frozen=True)
class Result:
    """What came out of a training; `metrics` are those of the kept epoch (`val_*`, `test_*`)."""

    run_id: str
    name: str
    best_epoch: int
    metrics: dict[str, float]
    train_seconds: float
    tracking_seconds: float
    model_uri: str
    registry: str
    columns: tuple[str, ...]

    def table(self) -> str:
        """The result for a terminal."""
        widths = [max(11, len(name) + 2) for name in self.columns]
        header = "".join(f"{name.replace('_', ' '):>{w}}" for name, w in zip(self.columns, widths, strict=True))
        lines = [f"{self.name}: epoch {self.best_epoch} is kept (best by validation)", f"{'':12}{header}"]
        for part in ("val", "test"):
            values = "".join(
                f"{self.metrics[f'{part}_{name}']:{w}.4f}" for name, w in zip(self.columns, widths, strict=True)
            )
            lines.append(f"{'validation' if part == 'val' else part:12}{values}")
        lines.append(f"{self.train_seconds:.1f} s of training, {self.tracking_seconds:.1f} s of tracking")
        lines.append(self.registry)
        return "\n".join(lines)


Config = TypeVar("Config", bound=TrainConfig)
Prepared = TypeVar("Prepared", bound=Training)


@dataclass(frozen=True)
class Family(Generic[Config, Prepared]):
    """The steps of a training that differ between families.

    Attributes:
        name: of the entry point, and of the MLflow experiment.
        decide: the configuration with every `auto` decided but those that `training.autotune` settles.
        prepare: data, network, optimizer and batches set up; raises UserError for what does not fit together.
        test: `test(training, network, best_epoch, folder)` evaluates the kept network on the test data, writes figures
            and reports under `folder` in the names of the contract, and returns the metrics `test_*`.
        save: writes the kept network as a task's model folder.
        describe: the run's description for its MLflow page, in Markdown.
    """

    name: str
    decide: Callable[[Config], Config]
    prepare: Callable[[Config, Accelerator], Prepared]
    test: Callable[[Prepared, nn.Module, int, Path], Metrics]
    save: Callable[[Prepared, nn.Module, Path], SavedModel]
    describe: Callable[[Prepared, Result], str]
