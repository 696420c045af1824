"""Trainings to a target accuracy: they stop in time, both recipes are what they say, and the tables hold it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from experiments.config import BenchmarkConfig
from experiments.speed import run, targets, time_to_accuracy
from experiments.speed.report import BenchmarkResult
from experiments.speed.time_to_accuracy import OWN, USUAL, Candidate, Epoch, TargetRun


def training(**options: Any) -> BenchmarkConfig:
    return BenchmarkConfig(**{"threads": 1, "train_size": 300, "batch_sizes": "32", **options})


def train_to_target(config: BenchmarkConfig, recipe: str = OWN, length: int = 30) -> TargetRun:
    return time_to_accuracy.train_to_target(
        config, Candidate("cpu", "lenet5", "fp32", recipe, (length,)), length, seed=0
    )


def test_training_stops_at_the_first_epoch_that_reaches_the_target() -> None:
    run = train_to_target(training(target_accuracy=0.5))
    assert run.reached and run.outcome == "reached"
    accuracies = [epoch.val_accuracy for epoch in run.curve]
    assert accuracies[-1] >= 0.5 and all(accuracy < 0.5 for accuracy in accuracies[:-1])
    assert [epoch.number for epoch in run.curve] == list(range(1, len(run.curve) + 1))
    assert 1 < len(run.curve) < 30
    assert all(0 < epoch.train_seconds < epoch.seconds for epoch in run.curve)
    evaluating = [epoch.seconds - epoch.train_seconds for epoch in run.curve]
    assert evaluating == sorted(evaluating)
    again = train_to_target(training(target_accuracy=0.5))
    assert [epoch.metrics["val_loss"] for epoch in again.curve] == [epoch.metrics["val_loss"] for epoch in run.curve]


def test_a_target_that_is_not_reached_leaves_the_best_epoch() -> None:
    run = train_to_target(training(target_accuracy=1.0, train_size=128))
    assert run.outcome == "epochs over" and not run.reached
    assert len(run.curve) == 30 and run.curve[-1].images == 30 * 128
    assert run.best is not None and run.best.val_accuracy == max(epoch.val_accuracy for epoch in run.curve) < 1


def test_a_budget_cuts_a_training_within_an_epoch() -> None:
    run = train_to_target(training(target_accuracy=1.0, budget_seconds=1e-6))
    assert run.outcome == "budget of 1e-06 s spent"
    assert [(epoch.number, epoch.images) for epoch in run.curve] == [(1, 128)]


def test_the_usual_recipe_is_sgd_with_a_cosine_over_shuffled_shifted_pictures_in_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates: list[float] = []
    made: dict[str, Any] = {}
    loop, loader = time_to_accuracy.reference_loop, time_to_accuracy.reference_loader

    def watched(network: nn.Module, device: str, optimizer: torch.optim.Optimizer) -> Callable[[Any], None]:
        train = loop(network, device, optimizer)
        made.update(network=network, defaults=optimizer.defaults)

        def one_epoch(batches: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])
            train(batches)
            assert network.training

        return one_epoch

    def without_processes(pictures: Any, batch_size: int, workers: int) -> Any:
        made.update(batch_size=batch_size, workers=workers, transform=str(pictures.transform))
        return loader(pictures, batch_size, 0)

    monkeypatch.setattr(time_to_accuracy, "reference_loop", watched)
    monkeypatch.setattr(time_to_accuracy, "reference_loader", without_processes)
    usual = train_to_target(training(target_accuracy=1.0), USUAL, length=4)
    assert usual.outcome == "epochs over" and usual.precision == "fp32" and usual.recipe == USUAL
    assert rates == pytest.approx([0.1, 0.1 * (1 + 0.5**0.5) / 2, 0.05, 0.1 * (1 - 0.5**0.5) / 2])
    assert (made["defaults"]["momentum"], made["defaults"]["weight_decay"]) == (0.9, 5e-4)
    assert (made["batch_size"], made["workers"]) == (128, 2)
    assert "RandomCrop(size=(32, 32), padding=4)" in made["transform"] and "Flip" not in made["transform"]
    assert all(parameter.dtype == torch.float32 for parameter in made["network"].parameters())
    # Batches of 128 of 300 images, the rest left out.
    assert [epoch.images for epoch in usual.curve] == [256, 512, 768, 1024]


def test_the_usual_recipe_stops_at_the_target_and_is_tested_on_the_test_set() -> None:
    usual = train_to_target(training(target_accuracy=0.2), USUAL)
    assert usual.reached and usual.curve[-1].val_accuracy >= 0.2
    assert usual.test_accuracy is not None and 0.1 < usual.test_accuracy < 1
    assert usual.curve[-1].metrics["val_accuracy"] != usual.test_accuracy


def ended(candidate: Candidate, length: int, seed: int, seconds: float, reached: bool) -> TargetRun:
    curve = (Epoch(length, 100, seconds, seconds + 1, {"val_accuracy": 0.9 if reached else 0.5}),)
    outcome = "reached" if reached else "epochs over"
    return TargetRun(*candidate[:4], length, seed, 0.85, outcome, curve, 0.84 if reached else None)


def test_longer_schedules_are_tried_until_every_seed_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 1 fails with 4 epochs: all seeds train with 6, and 8 is not tried."""

    def pretend(config: BenchmarkConfig, candidate: Candidate, length: int, seed: int) -> TargetRun:
        return ended(candidate, length, seed, 1.0, reached=(length, seed) != (4, 8))

    monkeypatch.setattr(run, "train_to_target", pretend)
    candidate = Candidate("cpu", "lenet5", "fp32", OWN, (4, 6, 8))
    tried = list(run._towards_target(training(target_accuracy=0.85, target_seeds=3, seed=7), candidate))
    assert [(one.length, one.seed) for one in tried] == [(4, 7), (4, 8), (6, 7), (6, 8), (6, 9)]
    (time,) = targets.times_to_accuracy(tried)
    assert time.length == 6 and len(time.seconds) == 3


def test_the_usual_recipe_is_told_as_a_ratio_of_medians() -> None:
    own, usual = Candidate("cpu", "resnet20", "bf16", OWN, (8,)), Candidate("cpu", "resnet20", "fp32", USUAL, (10,))
    runs = [ended(own, 8, seed, seconds, True) for seed, seconds in enumerate((300.0, 310.0, 350.0))]
    runs += [ended(usual, 10, 0, 900.0, False), ended(usual, 15, 0, 1550.0, True)]
    assert targets.target_lines(runs) == [
        "resnet20, cpu, bf16, own recipe of 8 epochs: 0.85 after 310 s of training (300 - 350, n=3), test accuracy "
        "0.8400, the usual recipe takes 5.00 times as long",
        "resnet20, cpu, fp32, usual recipe of 15 epochs: 0.85 after 1,550 s of training (1,550 - 1,550, n=1), test "
        "accuracy 0.8400",
    ]
    rows = targets.target_rows(runs)
    assert [(row["recipe"], row["length"], row["reached"]) for row in rows[2:]] == [
        ("own", 8, True),
        ("usual", 10, False),
        ("usual", 15, True),
    ]
    assert "usual,15,0" in targets.curves_csv(runs)


def test_metrics_are_medians_over_the_seeds() -> None:
    own = Candidate("cpu", "resnet20", "bf16", OWN, (4, 6))
    result = BenchmarkResult(training(target_accuracy=0.85), "")
    result.targets += [ended(own, 4, seed, 100.0, reached=seed == 0) for seed in range(3)]
    assert run._reached(result) == {"best_val_accuracy/cpu/resnet20/bf16": 0.5}  # of 0.9, 0.5 and 0.5
    result.targets += [ended(own, 6, seed, seconds, True) for seed, seconds in enumerate((150.0, 190.0, 160.0))]
    assert run._reached(result) == {
        "best_val_accuracy/cpu/resnet20/bf16": 0.9,
        "seconds_to_accuracy/cpu/resnet20/bf16": 160.0,
    }
