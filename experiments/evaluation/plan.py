"""What is to be evaluated: a task, registered versions of it, rows and settings, all checked before a run is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config import CompareConfig, ConfigError
from experiments.evaluation.labeled_csv import AUTO, LabeledRows, assignments, read_rows
from experiments.evaluation.tasks import TASK_METRICS, TaskMetrics
from experiments.tracking.store import opened_store
from experiments.training import devices
from tasks import registry, task_class
from tasks.base import TaskInputError
from tasks.parameters import from_text
from tasks.registry import ModelNotFoundError, RegisteredVersion


@dataclass(frozen=True)
class EvaluationPlan:
    """A comparison ready to run. `device` is decided; `settings` are parameters of the task that the user gave."""

    task: str
    versions: tuple[RegisteredVersion, ...]
    data: LabeledRows
    settings: Mapping[str, Any]
    device: str

    @property
    def metrics(self) -> TaskMetrics:
        return TASK_METRICS[self.task]

    @property
    def title(self) -> str:
        """Such as `3 models for summarization on sample`."""
        models = "1 model" if len(self.versions) == 1 else f"{len(self.versions)} models"
        return f"{models} for {self.task} on {self.data.name}"


def make_plan(config: CompareConfig) -> EvaluationPlan:
    """Check all that can be checked without loading a model.

    Raises ConfigError for models, files, settings and devices that do not exist or do not go together, and for a
    registry that does not answer.
    """
    device = devices.resolve_device(config.device)
    opened_store()
    versions = _versions(config.models, config.task)
    task = versions[0].task
    columns = assignments("columns", config.columns, AUTO, TASK_METRICS[task].columns, "column")
    data = read_rows(task, config.datasets, columns)
    return EvaluationPlan(task, tuple(versions), data, _settings(task, config.settings), device)


def label(version: RegisteredVersion) -> str:
    """What tables and figures call a version: its model without a Hub's owner, and its place in the registry."""
    model = Path(version.model).name or version.model
    return f"{model if len(model) <= 40 else model[:37] + '...'} ({version.key})"


def _versions(models: str, task: str) -> list[RegisteredVersion]:
    """The versions that the names stand for, each once, all of one task that has a metric."""
    if models.strip() == AUTO:
        return _all_versions(task)
    found: dict[str, RegisteredVersion] = {}
    for name in filter(None, (part.strip() for part in models.split(","))):
        try:
            version = registry.find(name)
        except ModelNotFoundError as error:
            raise ConfigError(f"models names {name[:80]!r}: {error}") from error
        found.setdefault(version.key, version)
    if not found:
        raise ConfigError(f"models is {models!r}, which names nothing; valid: auto, name, name@alias or name/version")
    versions = list(found.values())
    for version in versions:
        if version.task not in TASK_METRICS:
            raise ConfigError(
                f"models names {version.key}, and {version.task} has no metric; "
                f"valid: models for {', '.join(TASK_METRICS)}"
            )
        if task not in (AUTO, version.task):
            raise ConfigError(f"models names {version.key}, which is for {version.task}, and task is {task!r}")
        if version.task != versions[0].task:
            raise ConfigError(
                f"models names {versions[0].key} for {versions[0].task} and {version.key} for {version.task}; valid: "
                "models of one task"
            )
    return versions


def _all_versions(task: str) -> list[RegisteredVersion]:
    everything = [version for version in registry.versions() if version.task in TASK_METRICS]
    tasks = [name for name in TASK_METRICS if any(version.task == name for version in everything)]
    if task == AUTO:
        if len(tasks) > 1:
            raise ConfigError(
                f"task is 'auto' with models=auto, and the registry has models for {', '.join(tasks)}; "
                "valid: one of them"
            )
        if not tasks:
            raise ConfigError(
                "models is 'auto', and the registry has no model of a task with a metric; "
                f"valid tasks: {', '.join(TASK_METRICS)}"
            )
        task = tasks[0]
    if task not in tasks:
        there = f"it has models for {', '.join(tasks)}" if tasks else "it has none for other tasks with a metric either"
        raise ConfigError(f"models is 'auto', and the registry has no model for {task}; {there}")
    return [version for version in everything if version.task == task]


def _settings(task: str, text: str) -> dict[str, Any]:
    """Parameters of a task from `name=value,name=value`. Raises ConfigError for unknown ones and bad values."""
    specs = task_class(task).parameters.specs()
    given = assignments("settings", text, "none", specs, "value")
    settings = {name: from_text(specs[name], value) for name, value in given.items()}
    try:
        # Not loaded: what goes together can be told without the model.
        task_class(task)(Path(), "none").check_parameters(settings)
    except TaskInputError as error:
        raise ConfigError(f"settings: {error}") from error
    return settings
