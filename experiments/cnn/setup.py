"""A CNN training made ready: the configuration decided, data on the device, network, optimizer and batches set up."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import nn

import models
from experiments.cnn.augmentation import Augmentation, Batch, Normalize, TrainingBatches, evaluation_batches
from experiments.cnn.classification import classification_step, predict
from experiments.cnn.recipes import resolve
from experiments.config import CnnConfig, ConfigError
from experiments.data.images import ImageData, Subset, load_images
from experiments.reports.classification import Predictions, classification_metrics
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state

TASK = "image-classification"


@dataclass
class CnnTraining(Training):
    """One training of a convolutional network, ready to run on this process."""

    config: CnnConfig
    data: ImageData
    normalize: Normalize

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "precision", "recall", "f1")

    @property
    def identity(self) -> DataIdentity:
        data = self.data
        return DataIdentity(data.name, data.origin, data.sha256, data.split_sha256, data.verified)

    @property
    def title(self) -> str:
        return f"{self.config.model} on {self.data.name}, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": TASK, "model": self.config.model, "dataset": self.data.name}

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

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
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
    config = config.replace(val_size=len(data.val))
    normalize = Normalize(data.mean, data.std, device)
    batches = TrainingBatches(
        data.train,
        normalize,
        Augmentation(config.crop, config.flip, config.cutout),
        config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    torch.manual_seed(config.seed)
    network = build_for(config.model, data)
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config, accelerator.num_processes)
    return CnnTraining(config, batches, state, environment, data, normalize)
