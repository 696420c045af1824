"""Comparing convolutional networks: how they are trained, timed and reported."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from experiments.cnn.augmentation import Batch
from experiments.cnn.classification import classification_step
from experiments.cnn.recipes import resolve
from experiments.cnn.training import train
from experiments.comparison import figures as plots
from experiments.comparison.analysis import analyse
from experiments.comparison.kind import Cell, DataShape, Kind
from experiments.comparison.page import Section
from experiments.comparison.results import ClassifierResult, leaderboard, paired_tests
from experiments.config import CNN_GROUPS, CNN_MODELS, IMAGE_DATASETS, CnnConfig, CompareConfig, ConfigError
from experiments.data.images import load_images
from experiments.training import devices
from experiments.training.family import Result
from experiments.training.state import make_state
from tasks.runs import artifact_file, open_store

STEPS, PATIENCE_SECONDS = 4, 1.5
SMALL_BATCH, BATCH = 8, 64
# A network that takes longer than this for a small batch is measured with small batches only.
SLOW_SECONDS = 0.3


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
        "Intervals: with several seeds Student's 95 % t-interval of the mean over seeds; with one seed, or when all "
        "seeds gave the same accuracy, Wilson's 95 % interval over the test images, for accuracy only. Models whose "
        "intervals overlap are called not distinguishable.",
        "ECE: expected calibration error, 15 equally wide bins of confidence. Precision, recall and F1 are averages "
        "over classes.",
        "FLOPs: one 32 x 32 image forward, convolutions and matrix products only, counted by torch's FlopCounterMode: "
        "a multiplication with its addition counts as two.",
        "Seconds: all epochs of one training with their validation, without tracking and tests. Images/s: median over "
        "epochs, training only. Both depend on the machine and on what else it was doing.",
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
        return seconds_per_image(cell.model, data, config.device, precision)

    def train(self, config: CnnConfig, given: frozenset[str], parent: str) -> Result | None:
        return train(config, given, parent)

    def read(self, cell: Cell, run: Any, history: Mapping[str, np.ndarray]) -> ClassifierResult:
        with artifact_file(open_store(), run, "reports/test_predictions.npz") as path, np.load(path) as saved:
            labels, probabilities = saved["labels"], saved["probabilities"]
        test = {key: value for key, value in run.data.metrics.items() if key.startswith("test_")}
        best = int(run.data.tags["best_epoch"])
        return ClassifierResult(*cell, run.info.run_id, test, history, best, labels, probabilities)

    def section(self, folder: Path, data: DataShape, dataset: str, cells: Sequence[ClassifierResult]) -> Section:
        assert isinstance(data, ImageShape)
        names = list(dict.fromkeys(cell.model for cell in cells))
        rows = leaderboard(
            cells, {name: network_cost(name, len(data.classes), data.channels) for name in names}, self.metrics
        )
        paired = paired_tests(cells)
        seeds = max(len(row.seeds) for row in rows)
        over = f"{dataset}, {seeds} seed{'s' if seeds > 1 else ''}"
        file = {kind: folder / f"{dataset}_{kind}.png" for kind in ("loss", "accuracy", "metrics", "confusion", "cost")}
        for metric in ("loss", "accuracy"):
            plots.save_curves(file[metric], cells, metric, f"{metric} on {over}")
        bars = "mean test metrics" + (
            " with 95 % intervals" if any(row.values["accuracy"].known for row in rows) else ""
        )
        plots.save_bars(file["metrics"], rows, names, f"{bars}: {over}")
        by_rank = sorted(cells, key=lambda cell: [row.model for row in rows].index(cell.model))
        plots.save_confusions(file["confusion"], by_rank, data.classes, f"test images of {over}")
        plots.save_costs(file["cost"], rows, names, f"accuracy against cost: {over}; bars are 95 % intervals")
        captions = {
            "accuracy": "Accuracy by epoch and by time",
            "loss": "Loss by epoch and by time; training loss may include label smoothing, validation loss does not",
            "metrics": "Test metrics",
            "cost": "Accuracy against cost: up and left is better",
            "confusion": "Confusion matrices, added up over seeds; mistakes in red",
        }
        figures = tuple((captions[kind], file[kind].read_bytes()) for kind in captions)
        analysis = tuple(analyse(rows, paired, cells, data.classes))
        return Section(dataset, self.metrics, tuple(rows), tuple(paired), analysis, figures)


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


def seconds_per_image(model: str, data: ImageShape, device: str, precision: str) -> float:
    """Time a network's training step, in the real precision, on noise."""
    accelerator = devices.make_accelerator(device, precision)
    network = models.build(model, len(data.classes), data.channels)
    state = make_state(accelerator, network, optimizer="sgd", learning_rate=1e-3, weight_decay=0.0,
                       schedule="constant", warmup=0.0, ema_decay=0.0, total_steps=1)  # fmt: skip
    step = classification_step
    state.model.train()

    def train_on(size: int) -> float:
        images = torch.randn(size, data.channels, 32, 32, device=accelerator.device)
        labels = torch.zeros(size, dtype=torch.int64, device=accelerator.device)
        started = time.perf_counter()
        with accelerator.autocast():
            result = step(state.model, Batch(images.contiguous(memory_format=torch.channels_last), labels, size))
        accelerator.backward(result.loss / size)
        state.optimizer.step()
        state.optimizer.zero_grad()
        result.loss.item()  # waits for the device
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def fastest(size: int) -> float:
        train_on(size)  # the first step makes what later ones reuse
        times: list[float] = []
        while len(times) < STEPS and sum(times) < PATIENCE_SECONDS:
            times.append(train_on(size))
        return min(times)  # what else the machine did in between is not the network's fault

    small = fastest(SMALL_BATCH)
    return small / SMALL_BATCH if small > SLOW_SECONDS else fastest(BATCH) / BATCH
