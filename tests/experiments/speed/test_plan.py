"""What a benchmark will measure, for how long, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import benchmark
from experiments.config import CNN_GROUPS, BenchmarkConfig, CnnConfig, ConfigError
from experiments.speed import plan
from experiments.speed.plan import make_plan
from experiments.speed.throughput import MIN_BATCHES, LoopVariant, Source, variants
from experiments.speed.time_to_accuracy import USUAL_EPOCHS
from experiments.training import devices
from tests.support.runs import all_runs


def training(**options: Any) -> BenchmarkConfig:
    return BenchmarkConfig(**{"threads": 1, "train_size": 300, "batch_sizes": "32", **options})


def test_names_and_groups_are_taken_once_each_in_order() -> None:
    assert make_plan(BenchmarkConfig(model="resnet18, small,resnet18")).models == ["resnet18", *CNN_GROUPS["small"]]


def test_all_devices_are_the_cpu_and_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert plan._devices("all") == plan._devices("auto") == ["cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert plan._devices("all") == ["cpu", "cuda"] and plan._devices("auto") == ["cuda"]


def test_all_precisions_of_a_device_are_trained_to_the_target_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "precisions", lambda device: ["fp32", "bf16"])
    asked = training(target_accuracy=0.9, target_precision="all", device="cpu")
    assert make_plan(asked).target_candidates() == [
        ("cpu", "lenet5", "fp32", "own", (30,)),
        ("cpu", "lenet5", "bf16", "own", (30,)),
    ]
    assert make_plan(training(target_accuracy=0.0)).target_candidates() == []


def test_the_usual_recipe_is_trained_beside_the_own_with_schedules_of_several_lengths() -> None:
    asked = training(target_accuracy=0.9, target_recipe="both", target_epochs="4,6", target_seeds=2, device="cpu")
    assert make_plan(asked).target_candidates() == [
        ("cpu", "lenet5", "auto", "own", (4, 6)),
        ("cpu", "lenet5", "fp32", "usual", (10, 15, 20, 30)),
    ]


def test_the_estimate_is_of_all_lengths_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "seconds_per_image", lambda *_: 1.0)
    once = plan.estimate(make_plan(training(target_accuracy=0.9, target_epochs="2"))).target
    often = training(target_accuracy=0.9, target_epochs="2,4", target_seeds=3)
    assert plan.estimate(make_plan(often)).target == pytest.approx(3 * (1 + 2) * once)


def test_the_usual_recipe_is_estimated_by_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(_: Source, variant: LoopVariant) -> float:
        return 3.0 if variant.loop == "plain" else 1.0

    monkeypatch.setattr(plan, "seconds_per_image", seconds)
    own = plan.estimate(make_plan(training(target_accuracy=0.9, target_epochs=str(sum(USUAL_EPOCHS))))).target
    usual = plan.estimate(make_plan(training(target_accuracy=0.9, target_recipe="usual"))).target
    assert usual == pytest.approx(3 * own)


def test_the_estimate_allows_for_slow_networks_and_for_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "seconds_per_image", lambda *_: 1.0)
    slow = plan.estimate(make_plan(training(batch_sizes="32", repeats=2, target_accuracy=0.9, budget_seconds=60)))
    assert slow.target == 60
    at_least = len(variants(CnnConfig(), "cpu")) * 2 * 32 * MIN_BATCHES
    assert at_least < slow.throughput < 2 * at_least
    monkeypatch.setattr(plan, "seconds_per_image", lambda *_: 1e-6)
    fast = plan.estimate(make_plan(training(batch_sizes="32", repeats=2, seconds=5.0)))
    assert fast.target == 0
    assert fast.throughput == pytest.approx(len(variants(CnnConfig(), "cpu")) * 2 * 5.0, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch_sizes", ""], "batch_sizes is ''; valid: whole numbers above 1"),
        (["--batch_sizes", "64,x"], "batch_sizes is '64,x'; valid: whole numbers above 1"),
        (["--batch_sizes", "64,1"], "valid: whole numbers above 1"),
        (
            ["--target_epochs", "4,0"],
            "target_epochs is '4,0'; valid: whole numbers from 1 to 100000, separated by commas",
        ),
        (["--target_epochs", "few"], "target_epochs is 'few'; valid: whole numbers from 1"),
        (
            ["--target_accuracy", "0.5", "--target_recipe", "usual", "--target_epochs", "3"],
            "target_epochs is '3', which has no meaning for target_recipe=usual; valid: auto",
        ),
        (["--target_recipe", "mine"], "target_recipe is 'mine'; valid: own, usual, both"),
        (["--target_epochs", "4"], "target_epochs is '4', with target_accuracy=0; valid: auto, or a target_accuracy"),
        (["--target_seeds", "2"], "target_seeds is 2, with target_accuracy=0; valid: 1, or a target_accuracy"),
        (["--budget_seconds", "60"], r"budget_seconds is 60\.0, with target_accuracy=0; valid: "),
        (
            ["--target_epochs", "100001", "--target_accuracy", "0.5"],
            "target_epochs is '100001'; valid: whole numbers from",
        ),
        (
            ["--seed", "2147483646", "--target_seeds", "3", "--target_accuracy", "0.5"],
            "target_seeds is 3, from seed 2147483646 on; valid: up to seed 2147483647",
        ),
        (["--target_seeds", "0"], "target_seeds is 0; valid: a whole number from 1 to 1000"),
        (["--batch_sizes", "5000"], "batch_sizes has 5000; valid: at most 1258, the training images"),
        (["--model", "lenet5,resnet19"], "model names 'resnet19'; did you mean 'resnet18'. valid: small, full, lenet5"),
        (["--model", ","], "model is ',', which names nothing; valid: small, full, lenet5"),
        (["--target_accuracy", "99"], r"target_accuracy is 99\.0; valid: a number from 0 to 1"),
        (["--target_precision", "half"], "target_precision is 'half'; .*valid: auto, all"),
        (["--budget_seconds", "-1"], r"budget_seconds is -1\.0; valid: a number, at least 0"),
        (["--train_size", "5"], "train_size is 5; valid for this data set: 10 to 1258"),
        (
            ["--train_size", "100", "--batch_sizes", "32", "--target_accuracy", "0.9"],
            "train_size is 100; valid with target_accuracy: at least 128, the batch size of the recipes",
        ),
        (["--device", "gpu"], "device is 'gpu'; .*valid: auto, cpu, cuda, mps, all"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line_before_a_run_is_made(
    store: Path, options: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        benchmark.main(options)
    assert "\n" not in str(caught.value)
    assert not all_runs()


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="benchmark runs in one process"):
        benchmark.main([])
