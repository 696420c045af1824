"""How long a model takes to reach a validation accuracy, trained by its recipe through the engine, without MLflow."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from experiments.cnn.augmentation import Batch
from experiments.cnn.setup import CnnTraining, decide, prepare
from experiments.config import BenchmarkConfig, CnnConfig
from experiments.training import devices
from experiments.training.loop import DivergedError, fit
from experiments.training.progress import Progress
from experiments.training.state import Metrics

REACHED = "reached"


class Epoch(NamedTuple):
    """An epoch as it ended; both times count from the start of training, `train_seconds` without evaluation.

    `images` is the number of training images seen so far: the budget may cut an epoch short.
    """

    number: int
    images: int
    train_seconds: float
    seconds: float
    metrics: Metrics

    @property
    def val_accuracy(self) -> float:
        return self.metrics["val_accuracy"]


@dataclass(frozen=True)
class TargetRun:
    """One training towards `target`: how it ended (`reached`, or why not), and its epochs."""

    device: str
    model: str
    precision: str
    seed: int
    target: float
    outcome: str
    curve: tuple[Epoch, ...]

    @property
    def reached(self) -> bool:
        return self.outcome == REACHED

    @property
    def best(self) -> Epoch | None:
        """The epoch of the highest validation accuracy, the first of equal ones; None if there is no epoch."""
        return max(self.curve, key=lambda epoch: epoch.val_accuracy, default=None)


def target_config(config: BenchmarkConfig, model: str, device: str, precision: str) -> CnnConfig:
    """The training that a benchmark's options stand for; what they leave open, the recipe decides."""
    shared = ("dataset", "seed", "train_size", "threads", "data_dir")
    return CnnConfig(
        model=model, device=device, precision=precision, **{name: getattr(config, name) for name in shared}
    )


def train_to_target(config: BenchmarkConfig, model: str, device: str, precision: str) -> TargetRun:
    """Train until validation accuracy reaches the target, the epochs are over or the budget is spent.

    Loading data and building the network do not count. A loss that is not finite ends the training, not the benchmark.
    """
    cnn = decide(target_config(config, model, device, precision))
    training = prepare(cnn, devices.make_accelerator(device, precision))
    clock = _Clock(training, config.budget_seconds)
    progress = Progress(cnn.epochs, len(training.batches), training.selected_by)
    try:
        fit(
            training.state,
            batches=clock.batches,
            step=training.step,
            evaluate=clock.evaluate,
            epochs=cnn.epochs,
            seed=cnn.seed,
            on_epoch_end=clock.epoch_ended,
            solved=lambda metrics: metrics["val_accuracy"] >= config.target_accuracy or clock.spent,
            grad_clip=cnn.grad_clip,
            progress=progress.bar,
        )
        outcome = _outcome(clock, config)
    except DivergedError as error:
        outcome = f"diverged: {error}"
    return TargetRun(device, model, precision, cnn.seed, config.target_accuracy, outcome, tuple(clock.curve))


def _outcome(clock: "_Clock", config: BenchmarkConfig) -> str:
    if clock.curve[-1].val_accuracy >= config.target_accuracy:
        return REACHED
    if clock.spent:
        return f"budget of {config.budget_seconds:g} s spent"
    return "epochs over"


class _Clock:
    """Keeps the times of a training apart, and ends it when its budget (seconds; 0 = none) is spent."""

    def __init__(self, training: CnnTraining, budget: float) -> None:
        self.training = training
        self.budget = budget
        self.curve: list[Epoch] = []
        self.spent = False
        self._started = time.perf_counter()
        self._evaluating = 0.0
        self._images = 0

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, as far as the budget goes, but at least one."""
        for batch in self.training.batches.epoch(epoch):
            yield batch
            self._images += batch.total
            if self._check():
                return

    def evaluate(self, network: nn.Module) -> Metrics:
        """Validation metrics; the time that it takes is not counted as training."""
        started = time.perf_counter()
        metrics: dict[str, Any] = self.training.evaluate(network)
        self._evaluating += time.perf_counter() - started
        return metrics

    def epoch_ended(self, number: int, metrics: Metrics) -> None:
        """Note when an epoch ended, and whether the budget has room for another."""
        seconds = time.perf_counter() - self._started
        self.curve.append(Epoch(number, self._images, seconds - self._evaluating, seconds, metrics))
        self._check()

    def _check(self) -> bool:
        self.spent = bool(self.budget) and time.perf_counter() - self._started >= self.budget
        return self.spent
