"""What the trainings over an encoder share: set-up, evaluation in batches, what is left at the end."""

import dataclasses
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import ConfigError, StarterConfig
from experiments.reports import figures
from experiments.starters.corpora import Corpus
from experiments.starters.encoders.encoder import NONE, Size, make_start
from experiments.starters.starter import Figure, Starter, StarterEvaluation, StarterRecipe
from experiments.starters.weights import save_small
from experiments.text.batches import EncodedText, TextBatch, TextBatches
from experiments.training import devices
from experiments.training.family import DataIdentity, Family, Result, SavedModel, Training
from experiments.training.state import Metrics, StepResult, starting_state
from tasks import task_class

ANSWERS = "reports/test_answers.json"
LABELS = {"train": "training", "val": "validation"}


@dataclass
class EncoderTask(ABC):
    """What an encoder learns: made from data that were read, and given its tokenizer before anything is encoded.

    Attributes:
        task, name: the contract's name, and that of the starter's folder.
        dataset, sha256: the data, and the digest of those that the shipped model was trained on.
        read: `read(data_dir)` reads the data.
        size: of the encoder.
        head, settings: the class of transformers with what the task needs on top of the encoder, and its settings.
        selected_by, columns: as in `Training`.
    """

    data: Corpus
    config: StarterConfig
    tokenizer: Any = dataclasses.field(default=None, init=False)

    task: ClassVar[str]
    name: ClassVar[str]
    dataset: ClassVar[str]
    sha256: ClassVar[str]
    read: ClassVar[Callable[[str | Path], Corpus]]
    size: ClassVar[Size]
    recipe: ClassVar[StarterRecipe]
    head: ClassVar[Any]
    settings: ClassVar[dict[str, Any]] = {}
    dropout: ClassVar[float] = 0.1
    selected_by: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @classmethod
    def load(cls, config: StarterConfig) -> Self:
        """The task with the data in the configuration's folder."""
        return cls(cls.read(config.data_dir).cut(config.train_size), config)

    @abstractmethod
    def texts(self) -> list[str]:
        """The training texts, by which the vocabulary is chosen."""

    @abstractmethod
    def items(self, epoch: int) -> Sequence[EncodedText]:
        """The training examples of an epoch (from 1), always one for each example of the data."""

    @abstractmethod
    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
        """Loss and sums of a batch."""

    @abstractmethod
    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        """Metrics on `val` or `test`, and what the network said to each example, ready for JSON."""


@dataclass
class EncoderTraining(Training):
    """One training over an encoder, ready to run on this process."""

    config: StarterConfig
    task: EncoderTask

    @property
    def selected_by(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.task.selected_by

    @property
    def columns(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.task.columns

    @property
    def identity(self) -> DataIdentity:
        data, sha256 = self.task.data, self.task.data.digest()
        origin, verified = f"{self.config.data_dir}/text", sha256 == self.task.sha256
        return DataIdentity(self.task.dataset, origin, sha256, data.held_out_digest(), verified)

    @property
    def title(self) -> str:
        begins = "random weights" if self.config.encoder == NONE else Path(self.config.encoder).name
        return f"starter {self.task.name} from {begins}, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": self.task.task, "model": f"starter-{self.task.name}", "dataset": self.task.dataset}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        return (
            f"{self.task.head.__name__} of {self.task.size.layers} layers, {len(self.task.tokenizer):,} word pieces "
            f"({parameters:,} parameters), {len(self.task.data.train):,} training examples of {self.task.dataset}"
        )

    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
        return self.task.step(model, batch)

    def evaluate(self, network: nn.Module) -> Metrics:
        return self.task.measure(network, "val", self.state.accelerator)[0]


def make_starter(task: type[EncoderTask], evaluate: Callable[[Path, Path], StarterEvaluation]) -> Starter:
    """The starter of a task."""

    def decide(config: StarterConfig) -> StarterConfig:
        return devices.placed(config).filled(dataclasses.asdict(task.recipe))

    def begin(config: StarterConfig, accelerator: Accelerator) -> EncoderTraining:
        return prepare(task.load(config), accelerator)

    return Starter(task.name, task.task, Family("starter", decide, begin, test, save_model, describe), evaluate)


def prepare(task: EncoderTask, accelerator: Accelerator) -> EncoderTraining:
    """Tokenizer, network, batches and optimizer set up. Raises UserError for what does not fit together."""
    config, count = task.config, len(task.data.train)
    if not accelerator.num_processes <= config.batch_size <= count:
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {count}, which is the "
            "number of training examples"
        )
    start = make_start(config.encoder, task.size, task.texts())
    task.tokenizer = start.tokenizer
    torch.manual_seed(config.seed)
    network = start.network(task.head, task.dropout, **task.settings)
    processes = accelerator.process_index, accelerator.num_processes
    batches = TextBatches(task.items, count, config.batch_size, config.seed, accelerator.device, *processes)
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config, accelerator.num_processes)
    return EncoderTraining(config, batches, state, environment, task)


def test(training: EncoderTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Measure the kept network, with weights rounded as they are shipped, on the test data; draw and write it down."""
    task, history = training.task, training.state.history
    with tempfile.TemporaryDirectory() as temporary:
        save_small(network, task.tokenizer, Path(temporary))
        shipped: Any = task.head.from_pretrained(temporary).to(training.state.accelerator.device)
        metrics, said = task.measure(shipped, "test", training.state.accelerator)
    for metric, value in metrics.items():
        parts = {part: label for part, label in LABELS.items() if f"{part}_{metric}" in history[0]}
        path = folder / "plots" / f"{metric}_curve.png"
        figures.save_curves(path, history, metric, training.title, best, value, labels=parts)
    (folder / ANSWERS).parent.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")
    return {f"test_{name}": value for name, value in metrics.items()}


def save_model(training: EncoderTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network and its tokenizer as a model folder of the task."""
    task, config = training.task, training.config
    save_small(network, task.tokenizer, folder)
    name = f"starter-{task.name}"
    params = {"model": name, "encoder": Path(config.encoder).name, "seed": config.seed}
    return SavedModel(task.task, name, task.task, task_class(task.task).example, params)


def describe(training: EncoderTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    task, metrics = training.task, result.metrics
    shown = ", ".join(f"{name} **{metrics[f'test_{name}']:.4f}**" for name in task.columns)
    return f"""**{result.name}** on the test data of {task.dataset}: {shown}, with weights rounded as they are shipped.

The budget of {training.config.epochs} epochs over {len(task.data.train):,} examples was used up; epoch \
{result.best_epoch} was best on validation data by `{task.selected_by}` and was kept.

Where to look: *Model metrics* for the curves; artifacts `plots/`, `{ANSWERS}`, `config.json`, `checkpoints/`. \
`python -m experiments.evaluate --task {task.task}` measures the shipped model. Registry: {result.registry}.
"""


def opened(task: str, folder: Path) -> tuple[Any, Figure]:
    """A folder loaded as a task on the CPU, and the seconds from there to its first answer, with default settings."""
    started = time.perf_counter()
    loaded = task_class(task)(folder, folder.name, "cpu")
    loaded.load()
    loaded.run([loaded.example])
    seconds = time.perf_counter() - started
    return loaded, Figure("seconds from loading the model to its first answer", seconds, "must be below 3", 2)


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score over examples."""
    return {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}
