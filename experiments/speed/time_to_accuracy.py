"""How long a model takes to reach a validation accuracy, without MLflow: by its recipe, or by the usual one."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from experiments.cnn.recipes import AUGMENTATION
from experiments.cnn.report import CNN
from experiments.cnn.setup import CnnTraining, build_for
from experiments.config import BenchmarkConfig, CnnConfig
from experiments.reports.classification import classification_metrics
from experiments.speed.reference_loop import PictureDataset, reference_loader, reference_loop
from experiments.training import autotune, devices
from experiments.training.loop import DivergedError, fit
from experiments.training.progress import Progress
from experiments.training.state import MOMENTUM, Metrics

REACHED = "reached"
OWN, USUAL = "own", "usual"
# What most public trainings of small images do (He et al. 2016, section 4.2, with a cosine instead of steps).
USUAL_EPOCHS = (10, 15, 20, 30)
USUAL_RATE, USUAL_DECAY, USUAL_BATCH, USUAL_CROP, USUAL_WORKERS = 0.1, 5e-4, 128, 4, 2


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


class Candidate(NamedTuple):
    """A model on a device, and the recipe by which it is trained towards the target.

    Schedules of `lengths` epochs are tried in turn, until every seed gets there.
    """

    device: str
    model: str
    precision: str
    recipe: str
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class TargetRun:
    """One training towards `target`: how it ended (`reached`, or why not), and its epochs.

    Attributes:
        length: epochs of its schedule; it may get there before the last.
        test_accuracy: of the network that reached the target; None if none did.
    """

    device: str
    model: str
    precision: str
    recipe: str
    length: int
    seed: int
    target: float
    outcome: str
    curve: tuple[Epoch, ...]
    test_accuracy: float | None

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


class _Stopwatch:
    """Times a training towards a target: counts images, leaves evaluation out, and ends it when the budget is spent."""

    def __init__(self, target: float, budget: float) -> None:
        self.target, self.budget = target, budget
        self.curve: list[Epoch] = []
        self.images, self.evaluating = 0, 0.0
        self.start()

    def start(self) -> None:
        self.started = time.perf_counter()

    @property
    def reached(self) -> bool:
        return bool(self.curve) and self.curve[-1].val_accuracy >= self.target

    @property
    def spent(self) -> bool:
        return bool(self.budget) and time.perf_counter() - self.started >= self.budget

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """As far as the budget goes, but at least one; labels come second in a batch."""
        for batch in batches:
            yield batch
            self.images += len(batch[1])
            if self.spent:
                return

    def untimed(self, evaluate: Callable[[nn.Module], Metrics], network: nn.Module) -> Metrics:
        begun = time.perf_counter()
        metrics = evaluate(network)
        self.evaluating += time.perf_counter() - begun
        return metrics

    def epoch_ended(self, number: int, metrics: Metrics) -> None:
        seconds = time.perf_counter() - self.started
        self.curve.append(Epoch(number, self.images, seconds - self.evaluating, seconds, metrics))

    def outcome(self) -> str:
        if self.reached:
            return REACHED
        return f"budget of {self.budget:g} s spent" if self.spent else "epochs over"


def train_to_target(config: BenchmarkConfig, candidate: Candidate, length: int, seed: int) -> TargetRun:
    """Train until validation accuracy reaches the target, the epochs are over or the budget is spent.

    Loading data and building the network do not count. A loss that is not finite ends the training, not the benchmark.
    """
    cnn = target_config(config, candidate.model, candidate.device, candidate.precision).replace(
        epochs=length, seed=seed
    )
    if candidate.recipe == USUAL:
        cnn = CNN.decide(cnn.replace(precision="fp32", memory_format="contiguous", threads=torch.get_num_threads()))
    else:
        cnn, _ = autotune.settle(CNN, CNN.decide(cnn))
    training = CNN.prepare(cnn, devices.make_accelerator(candidate.device, cnn.precision))
    train = _train_usually if candidate.recipe == USUAL else _train
    watch = _Stopwatch(config.target_accuracy, config.budget_seconds)
    test_accuracy = None
    try:
        network = train(training, watch)
        outcome = watch.outcome()
        if watch.reached:
            test_accuracy = classification_metrics(training.predict(network, training.data.test))["accuracy"]
    except DivergedError as error:
        outcome = f"diverged: {error}"
    return TargetRun(
        *(candidate.device, candidate.model, cnn.precision, candidate.recipe, length, seed),
        *(config.target_accuracy, outcome, tuple(watch.curve), test_accuracy),
    )


def _train(training: CnnTraining, watch: _Stopwatch) -> nn.Module:
    """As a training of the project does, by `loop.fit`; returns the network that was evaluated."""
    config = training.config
    watch.start()
    fit(
        training.state,
        batches=lambda epoch: watch.batches(training.batches.epoch(epoch)),
        step=training.step,
        evaluate=lambda network: watch.untimed(training.evaluate, network),
        epochs=config.epochs,
        seed=config.seed,
        on_epoch_end=watch.epoch_ended,
        solved=lambda _: watch.reached or watch.spent,
        grad_clip=config.grad_clip,
        progress=Progress(config.epochs, len(training.batches), training.selected_by).bar,
    )
    return training.state.evaluated


def _train_usually(training: CnnTraining, watch: _Stopwatch) -> nn.Module:
    """As tutorials do, by the plain loop; the network begins with the same random weights as ours."""
    config, data = training.config, training.data
    torch.manual_seed(config.seed)
    network = build_for(config.model, data).to(config.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=USUAL_RATE, momentum=MOMENTUM, weight_decay=USUAL_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    flip = AUGMENTATION.get(config.dataset, {"flip": config.flip})["flip"]
    loader = reference_loader(PictureDataset(data, USUAL_CROP, flip), USUAL_BATCH, USUAL_WORKERS)
    train = reference_loop(network, config.device, optimizer)
    progress = Progress(config.epochs, len(loader), training.selected_by)
    watch.start()
    for number in range(1, config.epochs + 1):
        train(progress.bar(watch.batches(loader), number))
        schedule.step()
        metrics = watch.untimed(training.evaluate, network)
        watch.epoch_ended(number, {f"val_{name}": value for name, value in metrics.items()})
        if watch.reached or watch.spent:
            break
    return network
