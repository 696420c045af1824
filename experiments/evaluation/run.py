"""Evaluating registered models: one nested run each under one parent, so that one that fails holds up no other."""

import os
from typing import Any

import torch

from experiments.config import CompareConfig, ConfigError, TrainingError
from experiments.evaluation.leaderboard import make_leaderboard, shown
from experiments.evaluation.measure import Measured, measure
from experiments.evaluation.plan import EvaluationPlan, label, make_plan
from experiments.evaluation.report import EvaluationResult, report
from experiments.evaluation.tasks import NoMetricError
from experiments.tracking.run import Tracker, git_commit, tracked_run
from experiments.training import devices
from tasks.base import ModelFolderError, TaskInputError, first_line
from tasks.registry import RegisteredVersion
from tasks.runtime.memory import forget_frames, give_memory_back

EXPERIMENT = "compare"


def evaluate_models(config: CompareConfig) -> EvaluationResult:
    """Evaluate the models, and log a report to the parent run.

    Raises ConfigError before any run for what the user gave and cannot be, TrainingError if every model fails.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("compare runs in one process; valid: without torchrun")
    plan = make_plan(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    machine = devices.describe(plan.device)
    with tracked_run(EXPERIMENT) as tracker:
        _start(plan, config, tracker, machine)
        measured, failures = _measure_all(plan, config, tracker)
        if not measured:
            reason = next(iter(failures.values()))
            raise TrainingError(f"no model could be evaluated ({len(failures)}); the first: {reason}")
        return report(make_leaderboard(plan, measured, failures), tracker, _facts(plan, tracker, machine))


def _start(plan: EvaluationPlan, config: CompareConfig, tracker: Tracker, machine: dict[str, str]) -> None:
    models = ",".join(version.key for version in plan.versions)
    params = {**_params(plan, config), "models": models}
    tags = {
        "task": plan.task,
        "dataset": plan.data.name,
        "data_sha256": plan.data.sha256,
        "models": str(len(plan.versions)),
        "git_commit": git_commit(),
        **machine,
    }
    name = f"compare {plan.title}"
    tracker.start(name, f"**{name}** is running: one nested run a model.", params, tags)
    print(f"{name} ({len(plan.data.rows):,} rows) on {machine['device_name']}; parent run {tracker.run_id}", flush=True)


def _params(plan: EvaluationPlan, config: CompareConfig) -> dict[str, Any]:
    """What applies of the configuration, with every `auto` decided."""
    return {
        "kind": config.kind,
        "task": plan.task,
        "datasets": config.datasets,
        "settings": config.settings,
        "device": plan.device,
        "threads": config.threads,
    }


def _measure_all(plan: EvaluationPlan, config: CompareConfig, parent: Tracker) -> tuple[list[Measured], dict[str, str]]:
    """What was measured of each model, and why not of those that failed."""
    measured: list[Measured] = []
    failures: dict[str, str] = {}
    width = len(str(len(plan.versions)))
    for number, version in enumerate(plan.versions, start=1):
        try:
            measured.append(_measure_one(plan, config, version, parent.run_id))
            metric = plan.metrics.headline
            value = shown(metric, measured[-1].evaluation.metrics[metric])
            median = measured[-1].costs["latency_median_seconds"]
            outcome = f"{metric.replace('_', ' ')} {value}, median {median:.4f} s"
        except Exception as error:  # libraries, networks and memory fail in many ways; the others continue
            failures[label(version)] = _reason(error)
            outcome = f"FAILED: {failures[label(version)]}"
            forget_frames(error)  # which hold the model
        give_memory_back()
        print(f"{number:{width}}/{len(plan.versions)}  {label(version)}: {outcome}", flush=True)
    return measured, failures


def _measure_one(plan: EvaluationPlan, config: CompareConfig, version: RegisteredVersion, parent: str) -> Measured:
    params = {**_params(plan, config), "model": version.model, "version": version.key}
    tags = {
        "task": plan.task,
        "model": version.model,
        "registered_model": version.name,
        "version": str(version.version),
        "dataset": plan.data.name,
        "data_sha256": plan.data.sha256,
        "git_commit": git_commit(),
    }
    with tracked_run(EXPERIMENT, parent=parent) as tracker:
        name = label(version)
        tracker.start(name, f"`{version.key}` evaluated on {plan.data.name}.", params, tags)
        found = measure(plan, version)
        tracker.log_final(found.metrics(), step=0)
    return found


def _reason(error: Exception) -> str:
    """Why a model could not be evaluated, in a line."""
    user_facing = isinstance(error, (ModelFolderError, TaskInputError, NoMetricError, TrainingError))
    return first_line(error) if user_facing else f"{type(error).__name__}: {first_line(error)}"


def _facts(plan: EvaluationPlan, tracker: Tracker, machine: dict[str, str]) -> dict[str, str]:
    """What a reader must know of the numbers."""
    given = ", ".join(f"{name}={value}" for name, value in plan.settings.items())
    return {
        "parent run": tracker.run_id,
        "commit": git_commit(),
        "machine": machine["hardware"],
        "device and CPU threads": f"{plan.device}, {torch.get_num_threads()}",
        "settings": given or "the task's own",
        "rows": f"{len(plan.data.rows):,} of {plan.data.name}; SHA-256 {plan.data.sha256[:12]}...",
    }
