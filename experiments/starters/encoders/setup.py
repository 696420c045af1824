"""What the trainings over an encoder share: set-up, evaluation in batches, the finished folder.

A recipe brings a `Lesson`: its data, what a network shall learn of them, and how well it does.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import ConfigError, StarterConfig
from experiments.starters.encoders.batches import Batch, Item, TextBatches, by_length, collate
from experiments.starters.encoders.encoder import NONE, Size, make_start
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state

EVALUATED_AT_ONCE = 64


@dataclass
class Lesson(ABC):
    """What one task learns: made from data that were read, and given its tokenizer before anything is encoded.

    Attributes:
        head: the class of transformers with what the task needs on top of the encoder.
        settings: of the network's configuration.
        selected_by, columns: as in `Training`.
        example: an input of the task, for the registered model.
    """

    tokenizer: Any = dataclasses.field(default=None, init=False)

    task: ClassVar[str]
    name: ClassVar[str]
    dataset: ClassVar[str]
    head: ClassVar[Any]
    settings: ClassVar[dict[str, Any]]
    selected_by: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    example: ClassVar[dict[str, Any]]

    @abstractmethod
    def identity(self) -> DataIdentity:
        """Which data, and which of them are held out."""

    @abstractmethod
    def texts(self) -> list[str]:
        """The training texts, by which the vocabulary is chosen."""

    @abstractmethod
    def __len__(self) -> int:
        """How many examples an epoch has."""

    @abstractmethod
    def items(self, epoch: int) -> Sequence[Item]:
        """The training examples of an epoch (from 1)."""

    @abstractmethod
    def step(self, model: nn.Module, batch: Batch) -> StepResult:
        """Loss and sums of a batch."""

    @abstractmethod
    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        """Metrics on `val` or `test`, and what the network said to each example, ready for JSON."""


@dataclass
class EncoderTraining(Training):
    """One training over an encoder, ready to run on this process."""

    config: StarterConfig
    lesson: Lesson

    @property
    def selected_by(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.lesson.selected_by

    @property
    def columns(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.lesson.columns

    @property
    def identity(self) -> DataIdentity:
        return self.lesson.identity()

    @property
    def title(self) -> str:
        begins = "random weights" if self.config.encoder == NONE else Path(self.config.encoder).name
        return f"starter {self.lesson.name} from {begins}, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": self.lesson.task, "model": f"starter-{self.lesson.name}", "dataset": self.lesson.dataset}

    def summary(self) -> str:
        size = RECIPES[self.config.task].size
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        return (
            f"{self.lesson.head.__name__} of {size.layers} layers, {len(self.lesson.tokenizer):,} word pieces "
            f"({parameters:,} parameters), {len(self.lesson):,} training examples of {self.lesson.dataset}"
        )

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
        return self.lesson.step(model, batch)

    def evaluate(self, network: nn.Module) -> Metrics:
        return self.lesson.measure(network, "val", self.state.accelerator)[0]


def decide(config: StarterConfig) -> StarterConfig:
    """The configuration with every `auto` decided for this machine, and its thread count in force."""
    return resolve(devices.settled(config))


def prepare(lesson: Lesson, config: StarterConfig, accelerator: Accelerator) -> EncoderTraining:
    """Tokenizer, network, batches and optimizer set up. Raises UserError for what does not fit together."""
    recipe = RECIPES[config.task]
    if not accelerator.num_processes <= config.batch_size <= len(lesson):
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {len(lesson)}, which is the "
            "number of training examples"
        )
    start = make_start(config.encoder, recipe.size, lesson.texts())
    lesson.tokenizer = start.tokenizer
    torch.manual_seed(config.seed)
    network = start.network(lesson.head, recipe.dropout, **lesson.settings)
    batches = TextBatches(
        lesson.items,
        len(lesson),
        config.batch_size,
        seed=config.seed,
        device=accelerator.device,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config.device, config.precision, accelerator.num_processes)
    return EncoderTraining(config, batches, state, environment, lesson)


@torch.inference_mode()
def outputs(
    network: nn.Module, items: Sequence[Item], accelerator: Accelerator
) -> Iterator[tuple[list[int], Any, Any]]:
    """A network's outputs in eval mode: places of the items in a batch, the batch, and what the network says."""
    network.eval()
    for places in by_length(items, EVALUATED_AT_ONCE):
        batch = collate([items[place] for place in places], accelerator.device)
        with accelerator.autocast():
            said = network(**batch.inputs)
        yield places, batch, said


@dataclass(frozen=True)
class Recipe:
    """Size of the encoder, and how it is trained."""

    size: Size
    epochs: int
    batch_size: int
    learning_rate: float
    dropout: float = 0.1
    weight_decay: float = 0.01
    optimizer: str = "adamw"
    schedule: str = "one_cycle"
    warmup: float = 0.1
    grad_clip: float = 1.0
    ema_decay: float = 0.0


RECIPES = {
    "sentiment-analysis": Recipe(Size(layers=6, units=768, pieces=11_000, window=128), 4, 32, 1e-4),
    "question-answering": Recipe(Size(layers=6, units=1536, pieces=14_000, window=256), 3, 16, 1.2e-4),
    "summarization": Recipe(Size(layers=5, units=512, pieces=8000, window=512), 4, 16, 1e-4),
}


def resolve(config: StarterConfig) -> StarterConfig:
    """The configuration with every `auto` that the recipe knows filled in."""
    return config.filled(dataclasses.asdict(RECIPES[config.task]))
