"""Comparing convolutional networks: how they are trained, timed and reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from experiments.cnn.recipes import resolve
from experiments.cnn.training import train
from experiments.comparison import figures as plots
from experiments.comparison.kind import NOTES, Cell, DataShape, Kind
from experiments.comparison.results import ClassifierResult, Findings, models_of
from experiments.config import CNN_GROUPS, CNN_MODELS, IMAGE_DATASETS, CnnConfig, CompareConfig, ConfigError
from experiments.data.images import ImageData, Subset, load_images
from experiments.reports.page import Figures
from experiments.speed.throughput import seconds_per_image
from experiments.training import devices
from experiments.training.family import Result
from tasks.runs import artifact_file, open_store

NOISE = 128  # images to measure a step with


@dataclass(frozen=True)
class ImageShape(DataShape):
    """Numbers of images, and what their networks must be built for."""

    channels: int
    classes: tuple[str, ...]


class CnnKind(Kind):
    """Convolutional networks on image data sets."""

    models = CNN_MODELS
    groups = CNN_GROUPS
    datasets = IMAGE_DATASETS
    default_dataset = "digits"
    metric = "accuracy"
    history = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds", "examples_per_second")
    metrics = ("accuracy", "precision", "recall", "f1", "loss", "ece", "seconds", "examples_per_second")
    items = "images"
    notes = (
        "The epoch kept of each training is the best by validation accuracy; the test images were read once, for it.",
        "ECE: expected calibration error, 15 equally wide bins of confidence. Precision, recall and F1 are averages "
        "over classes.",
        "FLOPs: one 32 x 32 image forward, convolutions and matrix products only, counted by torch's FlopCounterMode: "
        "a multiplication with its addition counts as two.",
        *NOTES,
    )

    def default_models(self, device: str) -> str:
        return "small" if device == "cpu" else "full"

    def title(self, models: Sequence[str], datasets: Sequence[str], seeds: int) -> str:
        names = models[0] if len(models) == 1 else f"{len(models)} models"
        return f"{names} on {' and '.join(datasets)}, {seeds} seed{'s' if seeds > 1 else ''}"

    def shape(self, dataset: str, config: CompareConfig) -> ImageShape:
        data = load_images(dataset, config.data_dir, train_size=config.train_size)
        return ImageShape(len(data.train), len(data.val), len(data.test), data.channels, data.classes)

    def cell_config(self, config: CompareConfig, cell: Cell) -> CnnConfig:
        shared = ("epochs", "train_size", "data_dir", "device", "precision", "threads", "register")
        return resolve(CnnConfig(**cell._asdict(), **{name: getattr(config, name) for name in shared}))

    def check(self, config: CnnConfig, data: DataShape) -> None:
        if config.batch_size > data.train:
            raise ConfigError(
                f"train_size is {config.train_size}; valid: at least {config.batch_size}, the batch size of "
                f"{config.model}"
            )

    def seconds_per_example(self, cell: Cell, data: DataShape, config: CompareConfig) -> float:
        assert isinstance(data, ImageShape)
        precision = devices.resolve_precision(config.precision, config.device)
        return seconds_per_image(self.cell_config(config, cell), _noise(data, config.device), config.device, precision)

    def train(self, config: CnnConfig, given: frozenset[str], parent: str) -> Result | None:
        return train(config, given, parent)

    def read(self, cell: Cell, run: Any, history: Mapping[str, np.ndarray]) -> ClassifierResult:
        with artifact_file(open_store(), run, "reports/test_predictions.npz") as path, np.load(path) as saved:
            labels, probabilities = saved["labels"], saved["probabilities"]
        test = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
        best = int(run.data.tags["best_epoch"])
        return ClassifierResult(*cell, run.info.run_id, test, history, best, labels, probabilities)

    def costs(self, model: str, data: DataShape) -> tuple[int, int]:
        assert isinstance(data, ImageShape)
        return network_cost(model, len(data.classes), data.channels)

    def draw(self, folder: Path, findings: Findings, data: DataShape, cells: Sequence[Any]) -> Figures:
        assert isinstance(data, ImageShape)
        names, over = models_of(cells), findings.over
        captions = {
            "accuracy": "Accuracy by epoch and by time",
            "loss": "Loss by epoch and by time; training loss may include label smoothing, validation loss does not",
            "metrics": "Test metrics",
            "cost": "Accuracy against cost: up and left is better",
            "confusion": "Confusion matrices, added up over seeds; mistakes in red",
        }
        file = {kind: folder / f"{findings.dataset}_{kind}.png" for kind in captions}
        for metric in ("loss", "accuracy"):
            plots.save_curves(file[metric], cells, metric, f"{metric} on {over}")
        plots.save_bars(file["metrics"], findings, names)
        plots.save_costs(file["cost"], findings, names)
        by_rank = sorted(cells, key=lambda cell: [row.model for row in findings.rows].index(cell.model))
        plots.save_confusions(file["confusion"], by_rank, data.classes, f"test images of {over}")
        return [(caption, file[kind]) for kind, caption in captions.items()]


def network_cost(model: str, num_classes: int, channels: int) -> tuple[int, int]:
    """Parameters, and FLOPs of one 32 x 32 image through the network.

    Counted by torch's FlopCounterMode, without computing anything: convolutions and matrix products only, and a
    multiplication with its addition as two.
    """
    with torch.device("meta"), torch.no_grad():
        network = models.build(model, num_classes, channels).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, channels, 32, 32))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


def _noise(shape: ImageShape, device: str) -> ImageData:
    """Images to measure with, like those of a data set in all that decides how long a step takes."""
    pixels = torch.randint(256, (NOISE, shape.channels, 32, 32), dtype=torch.uint8, device=device)
    part = Subset(pixels, torch.zeros(NOISE, dtype=torch.int64, device=device))
    flat = (0.5,) * shape.channels
    return ImageData("noise", part, part, part, shape.classes, flat, flat, "", "", False, "")
