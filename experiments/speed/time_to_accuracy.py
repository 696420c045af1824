"""How long a model takes to reach a validation accuracy, trained by its recipe, without MLflow."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from experiments.cnn.augmentation import Batch
from experiments.cnn.report import CNN
from experiments.config import BenchmarkConfig, CnnConfig
from experiments.training import autotune, devices
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
    shared = ("dataset", "image_size", "seed", "train_size", "threads", "data_dir")
    return CnnConfig(
        model=model, device=device, precision=precision, **{name: getattr(config, name) for name in shared}
    )


def train_to_target(config: BenchmarkConfig, model: str, device: str, precision: str) -> TargetRun:
    """Train until validation accuracy reaches the target, the epochs are over or the budget is spent.

    Loading data and building the network do not count. A loss that is not finite ends the training, not the benchmark.
    """
    cnn, _ = autotune.settle(CNN, CNN.decide(target_config(config, model, device, precision)))
    training = CNN.prepare(cnn, devices.make_accelerator(device, cnn.precision))
    curve: list[Epoch] = []
    images, evaluating, started = 0, 0.0, time.perf_counter()

    def spent() -> bool:
        return bool(config.budget_seconds) and time.perf_counter() - started >= config.budget_seconds

    def batches(epoch: int) -> Iterator[Batch]:  # as far as the budget goes, but at least one
        nonlocal images
        for batch in training.batches.epoch(epoch):
            yield batch
            images += batch.total
            if spent():
                return

    def evaluate(network: nn.Module) -> Metrics:
        nonlocal evaluating
        begun = time.perf_counter()
        metrics = training.evaluate(network)
        evaluating += time.perf_counter() - begun
        return metrics

    def on_epoch_end(number: int, metrics: Metrics) -> None:
        seconds = time.perf_counter() - started
        curve.append(Epoch(number, images, seconds - evaluating, seconds, metrics))

    try:
        fit(
            training.state,
            batches=batches,
            step=training.step,
            evaluate=evaluate,
            epochs=cnn.epochs,
            seed=cnn.seed,
            on_epoch_end=on_epoch_end,
            solved=lambda metrics: metrics["val_accuracy"] >= config.target_accuracy or spent(),
            grad_clip=cnn.grad_clip,
            progress=Progress(cnn.epochs, len(training.batches), training.selected_by).bar,
        )
        outcome = f"budget of {config.budget_seconds:g} s spent" if spent() else "epochs over"
        if curve[-1].val_accuracy >= config.target_accuracy:
            outcome = REACHED
    except DivergedError as error:
        outcome = f"diverged: {error}"
    return TargetRun(device, model, cnn.precision, cnn.seed, config.target_accuracy, outcome, tuple(curve))
