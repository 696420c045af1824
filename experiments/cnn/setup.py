"""A CNN training made ready: the configuration decided, data on the device, network, optimizer and batches set up."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import nn

import models
from experiments.cnn import pretrained
from experiments.cnn.augmentation import Augmentation, ImageBatch, Normalize, TrainingBatches, evaluation_batches
from experiments.cnn.classification import classification_step, predict
from experiments.cnn.recipes import resolve
from experiments.config import RANDOM, CnnConfig, ConfigError
from experiments.data.images import ImageData, Subset, load_images
from experiments.reports.classification import Predictions, classification_metrics
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import NONE_SLOWER, Metrics, StepResult, starting_state
from tasks.base import first_line

TASK = "image-classification"
LEAST_SIZE = 8  # of `small_size`: on a pixel or two, a resnet20 diverges


@dataclass
class CnnTraining(Training):
    """One training of a convolutional network, ready to run on this process.

    Attributes:
        weights: the pretrained ones that it begins with; None for random ones.
    """

    config: CnnConfig
    data: ImageData
    normalize: Normalize
    weights: pretrained.Weights | None

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "precision", "recall", "f1")
    divisible: ClassVar[bool] = True

    @property
    def identity(self) -> DataIdentity:
        data = self.data
        return DataIdentity(data.name, data.origin, data.sha256, data.split_sha256, data.verified)

    @property
    def title(self) -> str:
        begins = "" if self.weights is None else "pretrained "
        return f"{begins}{self.config.model} on {self.data.name}, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        begins = {} if self.weights is None else self.weights.tags()
        return {"task": TASK, "model": self.config.model, "dataset": self.data.name, **begins}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        data = self.data
        return (
            f"{self.config.model} ({parameters:,} parameters) on {data.name}: {len(data.train):,} training, "
            f"{len(data.val):,} validation, {len(data.test):,} test images"
        )

    @property
    def warnings(self) -> list[str]:
        return super().warnings if self.data.report is None else self.data.report.warnings

    def start_epoch(self, epoch: int) -> None:
        if self.weights is not None:
            pretrained.freeze(self.state.network, epoch <= self.config.freeze_epochs)

    def step(self, model: nn.Module, batch: ImageBatch) -> StepResult:
        return classification_step(model, batch, self.config.label_smoothing)

    def predict(self, network: nn.Module, part: Subset) -> Predictions:
        """A network's predictions for a part of the data."""
        return predict(network, evaluation_batches(part, self.normalize), self.state.accelerator)

    def evaluate(self, network: nn.Module) -> Metrics:
        return classification_metrics(self.predict(network, self.data.val))


def decide(config: CnnConfig) -> CnnConfig:
    """The configuration with every `auto` decided but those that `training.autotune` settles."""
    return resolve(devices.placed(config))


def build_for(model: str, data: ImageData) -> nn.Module:
    """A network for the classes, channels and size of a data set. Raises ConfigError if it takes no such size."""
    try:
        stem = models.stem_for(model, data.size)
    except ValueError as error:
        raise ConfigError(f"image_size is {data.size}; {error}") from error
    return models.build(model, len(data.classes), data.channels, stem)


def _check_small(config: CnnConfig, data: ImageData) -> None:
    """Raise ConfigError if the network cannot be trained on images of `small_size`."""
    size = config.small_size
    if models.ARCHITECTURES[config.model].fixed:
        raise ConfigError(f"small_size is {size}, and the layers of {config.model} are made for one size; valid: 0")
    if not LEAST_SIZE <= size < data.size:
        valid = f"0, or from {LEAST_SIZE} to {data.size - 1}" if data.size > LEAST_SIZE else "0"
        raise ConfigError(f"small_size is {size}, and the images have {data.size} x {data.size} pixels; valid: {valid}")
    try:
        with torch.device("meta"):
            build_for(config.model, data)(torch.empty(2, data.channels, size, size))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"small_size is {size}, which {config.model} cannot be trained on ({first_line(error)}); valid: 0, or a "
            f"larger size below {data.size}"
        ) from error


def prepare(config: CnnConfig, accelerator: Accelerator) -> CnnTraining:
    """Load the data and set up network, optimizer and batches. Raises UserError for what does not fit together."""
    device = accelerator.device
    data = load_images(
        config.dataset,
        config.data_dir,
        train_size=config.train_size,
        val_size=config.val_size,
        split_seed=config.split_seed,
        image_size=config.image_size,
        device=device,
    )
    if config.batch_size > len(data.train):
        raise ConfigError(f"batch_size is {config.batch_size}; valid: at most {len(data.train)}, the training images")
    if config.batch_size < accelerator.num_processes:
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: at least {accelerator.num_processes}, one a process"
        )
    if config.small_epochs:
        _check_small(config, data)
    config = config.replace(val_size=len(data.val))
    weights = None if config.weights == RANDOM else pretrained.located(config)
    mean, std = (data.mean, data.std) if weights is None else pretrained.normalization(data.channels)
    normalize = Normalize(mean, std, device)
    batches = TrainingBatches(
        data.train,
        normalize,
        Augmentation(config.crop, config.flip, config.cutout, config.small_size, config.small_epochs),
        config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    torch.manual_seed(config.seed)
    network, slower = build_for(config.model, data), NONE_SLOWER
    if weights is not None:
        pretrained.load(network, config.model, weights)
        config = config.replace(revision=weights.revision)
        slower = pretrained.trunk(network, config.trunk_learning_rate)
    state = starting_state(config, accelerator, network, len(batches), slower)
    environment = devices.environment(config, accelerator.num_processes)
    return CnnTraining(config, batches, state, environment, data, normalize, weights)
