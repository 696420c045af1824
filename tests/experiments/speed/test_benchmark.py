"""The entry point `benchmark`: every way is measured, times count what they say, and all of it is logged."""

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from experiments import benchmark
from experiments.cnn.setup import CnnTraining
from experiments.config import BenchmarkConfig, CnnConfig, ConfigError
from experiments.reports.tables import to_csv
from experiments.speed import report, run, throughput
from experiments.speed.plan import Estimate, make_plan
from experiments.speed.report import BenchmarkResult, best_batch_sizes
from experiments.speed.throughput import MIN_BATCHES, LoopVariant, Throughput, speed_of, variants
from experiments.training import devices
from experiments.training.state import StepResult
from tests.support.runs import all_runs, artifacts, only_run, table

QUICK = ["--batch_sizes", "8", "--seconds", "0.03", "--repeats", "2", "--threads", "1", "--train_size", "300"]


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput.os, "cpu_count", lambda: 2)


@pytest.fixture
def fp32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the settings, the same on every machine, and a short look for the estimate."""
    monkeypatch.setattr(throughput, "PROBE_SIZES", (8,))
    monkeypatch.setattr(devices, "precisions", lambda _: ["fp32"])
    monkeypatch.setattr(throughput.os, "cpu_count", lambda: 1)


@pytest.mark.figures
def test_every_way_and_model_is_measured_then_trained_to_the_target_and_logged(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, two_workers: None
) -> None:
    monkeypatch.setattr(devices, "precisions", lambda _: ["fp32"])
    # Any network reaches this after the one batch that the budget allows.
    result = benchmark.main(
        [*QUICK, "--model", "lenet5,alexnet_small", "--target_accuracy", "0.02", "--budget_seconds", "1e-3"]
    )
    printed = capsys.readouterr().out
    assert printed.startswith("2 models on digits, cpu: about ") and ", then training to 0.02 in at most " in printed
    assert "lenet5, cpu: plain, fp32, contiguous, 2 workers" in printed
    assert "alexnet_small, cpu: ours, fp32, channels_last" in printed
    run = only_run()
    assert run.info.status == "FINISHED" and run.info.run_id == result.run_id
    assert run.data.tags["model"] == "lenet5,alexnet_small" and run.data.tags["data_verified"] == "true"

    measured = table(artifacts(run) / "throughput.csv")
    assert {row["model"] for row in measured} == {"lenet5", "alexnet_small"}
    assert len(measured) == 2 * len(variants(CnnConfig(), "cpu"))
    said = [line for line in result.table().splitlines() if line.startswith("auto takes for ")]
    assert said == result.table().splitlines()[-2:]
    speeds = r"[\d.]+ times the best setting, [\d.]+ times the plain loop"
    assert re.fullmatch(f"auto takes for lenet5, cpu: fp32 channels_last 1 thread, {speeds}", said[0])
    assert "time to accuracy: seconds" in result.table()
    for row in measured:
        speeds = [float(speed) for speed in row["measurements"].split()]
        assert len(speeds) == int(row["n"]) == 2
        assert 0 < float(row["lowest"]) == min(speeds) <= float(row["images_per_second"]) <= float(row["highest"])
    assert run.data.metrics["images_per_second/cpu/lenet5/plain_fp32_contiguous_0_workers"] > 0

    reached = table(artifacts(run) / "time_to_accuracy.csv")
    assert [row["model"] for row in reached] == ["lenet5", "alexnet_small"]
    assert {row["outcome"] for row in reached} == {"reached"}
    curve = [row for row in table(artifacts(run) / "curves.csv") if row["model"] == "lenet5"]
    assert float(curve[-1]["val_accuracy"]) >= 0.02
    assert float(reached[0]["train_seconds"]) == float(curve[-1]["train_seconds"]) > 0
    precision = reached[0]["precision"]
    assert run.data.metrics[f"seconds_to_accuracy/cpu/lenet5/{precision}"] > 0
    for figure in ("throughput.png", "time_to_accuracy.png"):
        assert (artifacts(run) / figure).read_bytes().startswith(b"\x89PNG")
    assert (artifacts(run) / "benchmark.html").read_text().count("data:image/png;base64,") == 2


def test_a_benchmark_that_is_cut_off_keeps_what_it_has_measured(
    store: Path, monkeypatch: pytest.MonkeyPatch, fp32_only: None
) -> None:
    measure = run.measure_model

    def second_fails(recipe: Any, *rest: Any) -> list[Throughput]:
        if recipe.model == "alexnet_small":
            raise KeyboardInterrupt
        return measure(recipe, *rest)

    monkeypatch.setattr(run, "measure_model", second_fails)
    with pytest.raises(KeyboardInterrupt):
        benchmark.main([*QUICK, "--model", "lenet5,alexnet_small"])
    cut_off = only_run()
    assert cut_off.info.status == "KILLED"
    assert {row["model"] for row in table(artifacts(cut_off) / "throughput.csv")} == {"lenet5"}


def test_each_way_really_has_its_precision_and_memory_format(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[tuple[torch.dtype, bool]]] = []
    build = models.build

    def watched(*arguments: Any) -> torch.nn.Module:
        network, mine = build(*arguments), set()
        seen.append(mine)
        second = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][1]

        def note(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            pixelwise = {
                tensor.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator]
                for tensor in (inputs[0], module.weight, output)
            }
            assert len(pixelwise) == 1
            mine.add((output.dtype, pixelwise.pop()))

        second.register_forward_hook(note)
        return network

    monkeypatch.setattr(models, "build", watched)
    monkeypatch.setattr(devices, "precisions", lambda _: ["bf16", "fp32"])
    planned = make_plan(BenchmarkConfig(batch_sizes="16", train_size=100, threads=1))
    measured = throughput.measure_model(planned.recipes["lenet5"], planned.data, "cpu", [16, 32], 0.01, 2)
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    ways = variants(planned.recipes["lenet5"], "cpu")
    assert seen == [{(kinds[way.precision], way.memory_format == "channels_last")} for way in ways]
    assert [(one.variant, one.batch_size) for one in measured] == list(itertools.product(ways, [16, 32]))


class Clock:
    """Stands in for the module `time`."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("a_batch", "taken"),
    [(0.1, [0, 1, 2, *range(3, 13)]), (5.0, [0, *range(1, 1 + MIN_BATCHES)])],
    ids=["fast: as many as fill the second", "slow: three batches after a single one to warm up"],
)
def test_the_speed_counts_whole_batches_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch, a_batch: float, taken: list[int]
) -> None:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)

    def source() -> Iterator[tuple[int, list[int]]]:
        for number in itertools.count():
            yield number, [0] * 20

    got = []

    def train(batches: Iterator[tuple[int, list[int]]]) -> None:
        for number, _ in batches:
            got.append(number)
            clock.now += a_batch

    assert speed_of(train, source(), 0.95, "cpu", warm_up=3) == pytest.approx(20 / a_batch)
    assert got == taken


def measured(form: str, size: int, *speeds: float, workers: int | None = None, model: str = "lenet5") -> Throughput:
    return Throughput(
        "cpu", model, LoopVariant("ours" if workers is None else "plain", "fp32", form, workers), size, speeds
    )


def test_table_and_csv_compare_medians_at_each_way_s_best_batch_size() -> None:
    everything = [
        measured("contiguous", 16, 100, 90, 400, workers=0),
        measured("contiguous", 32, 80, 80, 80, workers=0),
        measured("contiguous", 16, 200, 200, 200, workers=2),
        measured("channels_last", 16, 300, 300, 300),
        measured("channels_last", 32, 500, 400, 600),
        measured("contiguous", 16, 1.25, 1.25, 1.25, workers=0, model="vgg11"),
    ]
    best = best_batch_sizes(everything)
    assert [(one.batch_size, one.median) for one in best] == [(16, 100), (16, 200), (32, 500), (16, 1.25)]
    lines = BenchmarkResult(BenchmarkConfig(), "", everything).table().splitlines()
    assert next(line for line in lines if "ours" in line).split()[-6:] == ["32", "500", "400", "600", "5.00", "2.50"]
    assert next(line for line in lines if "vgg11" in line).split()[-5] == "1.25"
    assert not any("time to accuracy" in line for line in lines)
    lines = list(csv.DictReader(to_csv(report.throughput_rows(everything)).splitlines()))
    assert [row["best_batch_size"] for row in lines] == ["true", "false", "true", "false", "true", "true"]
    assert float(lines[3]["to_plain_same_threads"]) == 3 and float(lines[5]["to_plain_best"]) == 1


def test_a_training_that_diverges_is_reported_and_does_not_end_the_benchmark(
    store: Path, monkeypatch: pytest.MonkeyPatch, fp32_only: None
) -> None:
    step = CnnTraining.step

    def breaks(self: CnnTraining, model: Any, batch: Any) -> StepResult:
        result = step(self, model, batch)
        return result._replace(loss=result.loss * float("nan")) if self.config.model == "lenet5" else result

    monkeypatch.setattr(CnnTraining, "step", breaks)
    result = benchmark.main(
        [*QUICK, "--model", "lenet5,alexnet_small", "--target_accuracy", "0.02", "--budget_seconds", "1e-3"]
    )
    assert [run.reached for run in result.targets] == [False, True]
    assert result.targets[0].outcome.startswith("diverged: the loss is nan in epoch 1, batch 1")
    first = table(artifacts(only_run()) / "time_to_accuracy.csv")[0]
    assert (first["epochs"], first["train_seconds"]) == ("0", "") and "diverged" in first["outcome"]


def test_days_need_a_confirmation(store: Path, monkeypatch: pytest.MonkeyPatch, fp32_only: None) -> None:
    monkeypatch.setattr(run, "estimate", lambda plan: Estimate(throughput=3600, target=3 * 86400))
    with pytest.raises(ConfigError, match=r"may take 3\.0 days; .* or go ahead with confirm=true"):
        benchmark.main(QUICK)
    assert not all_runs()
    benchmark.main([*QUICK, "--confirm", "true"])
    assert [run.info.status for run in all_runs()] == ["FINISHED"]
