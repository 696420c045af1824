"""A benchmark from its configuration to what MLflow shows: throughput of every model, then time to accuracy."""

import gc
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from experiments.cnn.report import CNN
from experiments.config import BenchmarkConfig, ConfigError
from experiments.data.images import kept_in_memory
from experiments.reports.tables import to_csv
from experiments.reports.text import format_duration
from experiments.speed import figures as plots
from experiments.speed import report, targets
from experiments.speed.plan import BenchmarkPlan, estimate, make_plan
from experiments.speed.report import BenchmarkResult
from experiments.speed.throughput import LoopVariant, Throughput, measure_model, variant_of
from experiments.speed.time_to_accuracy import USUAL, Candidate, TargetRun, target_config, train_to_target
from experiments.tracking.run import Tracker, git_commit, tracked_run
from experiments.training import autotune, devices

EXPERIMENT = "benchmark"
LONGEST_UNCONFIRMED = 12 * 3600


def benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    """Measure as `config` says and log it, model by model: what is cut off keeps what it has measured.

    Raises UserError before a run is made for what cannot be measured, TrainingError after that.
    """
    with kept_in_memory():
        return _benchmark(config)


def _benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    plan = make_plan(config)
    _say_how_long(plan)
    with tracked_run(EXPERIMENT) as tracker:
        _start(plan, tracker)
        result = BenchmarkResult(config, tracker.run_id)
        for device in plan.devices:
            data = plan.data_on(device)
            for model, recipe in plan.recipes.items():
                started = time.perf_counter()
                gc.collect()  # autocast's wrapping ties each network to itself, and they may be large
                new = measure_model(recipe, data, device, plan.sizes, config.seconds, config.repeats)
                result.throughput += new
                result.auto[device, model] = _chosen_by_auto(config, model, device)
                _log(plan, result, tracker, _speeds(new))
                seconds = format_duration(time.perf_counter() - started)
                print(f"{model}, {device}: {len(new)} settings measured, {seconds}", flush=True)
        for candidate in plan.target_candidates():
            for run in _towards_target(config, candidate):
                result.targets.append(run)
                _log(plan, result, tracker, _reached(result))
                seconds = format_duration(run.curve[-1].seconds) if run.curve else "no epoch"
                print(f"{targets.target_name(run)}: {run.outcome}, {seconds}", flush=True)
        return result


def _towards_target(config: BenchmarkConfig, candidate: Candidate) -> Iterator[TargetRun]:
    """Trainings with longer and longer schedules, until every seed reaches the target with one."""
    for length in candidate.lengths:
        for seed in range(config.seed, config.seed + config.target_seeds):
            gc.collect()
            run = train_to_target(config, candidate, length, seed)
            yield run
            if not run.reached:
                break
        else:
            return


def _chosen_by_auto(config: BenchmarkConfig, model: str, device: str) -> LoopVariant:
    """The settings that a training of the model chooses here."""
    threads = torch.get_num_threads()
    try:
        _, choice = autotune.settle(CNN, CNN.decide(target_config(config, model, device, "auto")))
    finally:
        torch.set_num_threads(threads)
    return variant_of(choice.setting)


def _say_how_long(plan: BenchmarkPlan) -> None:
    """Say it, and refuse what takes too long unless the user confirmed it."""
    expected = estimate(plan)
    training = f", then training to {plan.config.target_accuracy:g} in at most {format_duration(expected.target)}"
    names = " and ".join(devices.describe(device)["device_name"] for device in plan.devices)
    print(
        f"{plan.title}: about {format_duration(expected.throughput)}{training if expected.target else ''}, on {names}",
        flush=True,
    )
    together = expected.throughput + expected.target
    if together > LONGEST_UNCONFIRMED and not plan.config.confirm:
        raise ConfigError(
            f"this benchmark may take {format_duration(together)}; measure fewer models or smaller batch_sizes, "
            "set budget_seconds, or go ahead with confirm=true"
        )


def _start(plan: BenchmarkPlan, tracker: Tracker) -> None:
    config, data = plan.config, plan.data
    name = f"benchmark of {plan.title}"
    tags = {
        "model": ",".join(plan.models),
        "dataset": plan.data.name,
        "git_commit": git_commit(),
        "data_sha256": data.sha256,
        "split_sha256": data.split_sha256,
        "data_verified": str(data.verified).lower(),
        **devices.describe(plan.devices[-1]),  # the GPU's names the CPU too
    }
    note = f"**{name}**: images per second of training beside a plain PyTorch loop, settings measured in turns."
    tracker.start(name, note, config.model_dump(), tags)
    tracker.log_dataset(data.name, data.origin, data.sha256)


def _log(plan: BenchmarkPlan, result: BenchmarkResult, tracker: Tracker, metrics: dict[str, float]) -> None:
    """Log what was measured so far, and what is new as metrics."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = {"Training throughput": folder / "throughput.png"}
        (folder / "throughput.csv").write_text(to_csv(report.throughput_rows(result.throughput)))
        plots.save_throughput(figures["Training throughput"], result.throughput, f"training throughput: {plan.title}")
        if result.targets:
            (folder / "time_to_accuracy.csv").write_text(to_csv(targets.target_rows(result.targets)))
            (folder / "curves.csv").write_text(targets.curves_csv(result.targets))
            name = f"Training to validation accuracy {plan.config.target_accuracy:g}"
            figures[name] = folder / "time_to_accuracy.png"
            plots.save_targets(figures[name], result.targets, f"{name}: {plan.title}")
        facts = {"run": tracker.run_id, "commit": git_commit(), **devices.describe(plan.devices[-1])}
        title = f"Benchmark: {plan.title}"
        html = report.page(title, result, figures, facts)
        (folder / "benchmark.html").write_text(html, encoding="utf-8")
        tracker.log_files(folder)
    tracker.log_final(metrics, step=0)


def _speeds(measured: list[Throughput]) -> dict[str, float]:
    return {
        f"images_per_second/{one.device}/{one.model}/{re.sub('[, ]+', '_', str(one.variant))}": one.median
        for one in report.best_batch_sizes(measured)
    }


def _reached(result: BenchmarkResult) -> dict[str, float]:
    """The metrics of the newest candidate, medians over its seeds; its accuracy is with the newest schedule length."""
    run = result.targets[-1]
    where = f"{run.device}/{run.model}/{USUAL if run.recipe == USUAL else run.precision}"
    same = [
        one
        for one in result.targets
        if (one.device, one.model, one.precision, one.recipe) == (run.device, run.model, run.precision, run.recipe)
    ]
    found = {f"seconds_to_accuracy/{where}": to.median for to in targets.times_to_accuracy(same)}
    best = [one.best.val_accuracy for one in same if one.length == run.length and one.best is not None]
    if best:
        found[f"best_val_accuracy/{where}"] = statistics.median(best)
    return found
