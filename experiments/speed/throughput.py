"""Images per second of one model's training, every way to train it measured in turns.

Augmentation, optimizer and the reading of the loss are included; evaluation, logging and checkpoints are not.
"""

import copy
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import nn

from experiments.cnn.augmentation import Augmentation, ImageBatch, Normalize, TrainingBatches
from experiments.cnn.classification import classification_step
from experiments.cnn.setup import build_for
from experiments.config import CnnConfig
from experiments.data.images import ImageData
from experiments.speed.reference_loop import PictureDataset, reference_loader, reference_loop
from experiments.training import autotune, devices
from experiments.training.loop import fit
from experiments.training.speed_trial import Setting
from experiments.training.state import MOMENTUM, StepResult, make_state

WARM_UP_BATCHES, MIN_BATCHES = 3, 3
# So low that no network diverges; how long a step takes does not depend on it.
LEARNING_RATE = 1e-3
MOST_WORKERS = 8
PROBE_SIZES, PROBE_SECONDS, SLOW_SECONDS = (8, 64), 0.05, 0.3


class LoopVariant(NamedTuple):
    """One way to train, whatever the batch size; `workers` is of the plain loop only, `threads` None for all."""

    loop: str
    precision: str
    memory_format: str
    workers: int | None = None
    threads: int | None = None

    @property
    def warm_up(self) -> int:
        """Batches before a measurement: workers have two each ready, made while other settings were measured."""
        return WARM_UP_BATCHES if self.workers is None else max(WARM_UP_BATCHES, 2 * self.workers + 1)

    def __str__(self) -> str:
        workers = "" if self.workers is None else f", {self.workers} worker{'' if self.workers == 1 else 's'}"
        threads = "" if self.threads is None else f", {self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.loop}, {self.precision}, {self.memory_format}{workers}{threads}"


PLAIN = LoopVariant("plain", "fp32", "contiguous", workers=0)


@dataclass(frozen=True)
class Throughput:
    """Images per second that one way to train a model reached in batches of one size, one number a measurement."""

    device: str
    model: str
    variant: LoopVariant
    batch_size: int
    speeds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Images per second."""
        return statistics.median(self.speeds)


def variants(recipe: CnnConfig, device: str) -> list[LoopVariant]:
    """Every way to train on a device, the plain loop first: ours with each setting that `auto` chooses from."""
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    ours = [variant_of(setting) for setting in autotune.settings(recipe.replace(device=device))]
    return [PLAIN, PLAIN._replace(workers=workers), *ours]


def variant_of(setting: Setting) -> LoopVariant:
    """Our loop with a setting."""
    threads = None if setting.threads == torch.get_num_threads() else setting.threads
    return LoopVariant("ours", setting.precision, setting.memory_format, threads=threads)


Train = Callable[[Iterator[Any]], None]  # trains on every batch that it is given


def speed_of(train: Train, batches: Iterator[Any], seconds: float, device: str, warm_up: int) -> float:
    """Images per second of a loop, from when it asks for batches (images first, labels second).

    At least `seconds` and MIN_BATCHES count, after `warm_up` batches or as long again, whichever is shorter.
    """
    speed = math.nan

    def limited() -> Iterator[Any]:
        nonlocal speed
        started = time.perf_counter()
        for count in range(warm_up):
            if count and time.perf_counter() - started >= seconds:
                break
            yield next(batches)
        _wait(device)
        started, images, count = time.perf_counter(), 0, 0
        while count < MIN_BATCHES or time.perf_counter() - started < seconds:
            batch = next(batches)
            yield batch
            images += len(batch[1])
            count += 1
        _wait(device)
        speed = images / (time.perf_counter() - started)

    train(limited())
    return speed


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


class _Setting(NamedTuple):
    """A way to train with batches of one size, ready to be measured."""

    variant: LoopVariant
    batch_size: int
    train: Train
    batches: Iterator[Any]
    speeds: list[float]


def measure_model(
    recipe: CnnConfig, data: ImageData, device: str, sizes: list[int], seconds: float, repeats: int
) -> list[Throughput]:
    """Measure every way to train the model of `recipe` (every `auto` decided) with every batch size, `repeats` times.

    The settings take turns, so that what else the machine does meanwhile hits all of them alike.
    """
    settings = _settings(Source(recipe, data, device), sizes)
    for _ in range(repeats):
        for setting in settings:
            speed = speed_of(setting.train, setting.batches, seconds, device, setting.variant.warm_up)
            setting.speeds.append(speed)
    return [Throughput(device, recipe.model, s.variant, s.batch_size, tuple(s.speeds)) for s in settings]


class Source:
    """What networks of a recipe are trained on, on one device: images for our loop, pictures for the plain one.

    Each is made when it is first asked for, and shared by all loops and sizes of batches.
    """

    def __init__(self, recipe: CnnConfig, data: ImageData, device: str) -> None:
        self.recipe, self.data, self.device = recipe, data, device

    @cached_property
    def _images(self) -> TrainingBatches:
        normalize = Normalize(self.data.mean, self.data.std, self.device)
        augmentation = Augmentation(self.recipe.crop, self.recipe.flip, self.recipe.cutout)
        return TrainingBatches(self.data.train, normalize, augmentation, self.recipe.batch_size, seed=0)

    @cached_property
    def _pictures(self) -> PictureDataset:
        return PictureDataset(self.data, self.recipe.crop, self.recipe.flip)

    def endless(self, variant: LoopVariant, size: int) -> Iterator[Any]:
        """Batches of `size`, epoch after epoch."""
        if variant.workers is not None:
            loader = reference_loader(self._pictures, size, variant.workers)
            return _endless(lambda _: loader)
        batches = copy.copy(self._images)
        batches.batch_size = size
        return _endless(batches.epoch)


def seconds_per_image(source: Source, variant: LoopVariant) -> float:
    """A first look at the speed of a loop, for estimates: a few small batches, and larger ones if those are fast."""
    loop, speed = _loop(source, variant), math.nan
    for size in PROBE_SIZES:
        speed = speed_of(loop, source.endless(variant, size), PROBE_SECONDS, source.device, warm_up=1)
        if size / speed > SLOW_SECONDS:
            break
    return 1 / speed


def _settings(source: Source, sizes: list[int]) -> list[_Setting]:
    """One network a variant, shared by its batch sizes."""
    settings = []
    for variant in variants(source.recipe, source.device):
        train = _loop(source, variant)
        settings += [_Setting(variant, size, train, source.endless(variant, size), []) for size in sizes]
    return settings


def _loop(source: Source, variant: LoopVariant) -> Train:
    network = _network(source.recipe, source.data)
    if variant.workers is None:
        return _OurLoop(source.recipe, network, source.device, variant)
    optimizer = torch.optim.SGD(network.to(source.device).parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    return reference_loop(network, source.device, optimizer)


def _network(recipe: CnnConfig, data: ImageData) -> nn.Module:
    torch.manual_seed(0)
    return build_for(recipe.model, data)


def _endless(epoch: Callable[[int], Iterable[Any]]) -> Iterator[Any]:
    for number in itertools.count(1):
        yield from epoch(number)


class _OurLoop:
    """Trains on every batch it is given, by `loop.fit` with the recipe's optimizer, smoothing, clipping, average."""

    def __init__(self, recipe: CnnConfig, network: nn.Module, device: str, variant: LoopVariant) -> None:
        self.recipe, self.device, self.variant = recipe, device, variant
        self.state = make_state(
            devices.make_accelerator(device, variant.precision),
            network,
            optimizer=recipe.optimizer,
            learning_rate=LEARNING_RATE,
            weight_decay=recipe.weight_decay,
            schedule="constant",
            warmup=0.0,
            ema_decay=recipe.ema_decay,
            total_steps=1,
            memory_format=variant.memory_format,
        )

    def __call__(self, batches: Iterator[ImageBatch]) -> None:
        # Accelerate keeps the precision in a singleton: it must be this setting's again when its turn comes.
        devices.make_accelerator(self.device, self.variant.precision)
        threads = torch.get_num_threads()
        torch.set_num_threads(self.variant.threads or threads)
        fit(
            self.state,
            batches=lambda _: batches,
            step=self._step,
            evaluate=lambda _: {},
            epochs=self.state.epoch + 1,
            seed=0,
            on_epoch_end=lambda *_: None,
            grad_clip=self.recipe.grad_clip,
        )
        torch.set_num_threads(threads)

    def _step(self, model: nn.Module, batch: ImageBatch) -> StepResult:
        return classification_step(model, batch, self.recipe.label_smoothing)
