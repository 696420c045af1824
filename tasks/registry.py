"""MLflow's model registry: package a task's model, register it, choose the champion, load it again.

Alias `champion` is the version that the UI and the serve commands use.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema

from tasks import describe_folder, task_class
from tasks.runs import open_store, store_lock

CHAMPION = "champion"
PROJECT_ROOT = Path(__file__).resolve().parent.parent
BASE_REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors")
MLFLOW_KINDS = {int: "long", float: "double", str: "string", bool: "boolean"}


@dataclass(frozen=True)
class Contender:
    """What decides whether a new version takes the champion's place: a metric, on which data; higher is better."""

    metric: str
    value: float
    data_sha256: str
    split_sha256: str


def package(
    name: str,
    task: str,
    folder: Path,
    model_name: str,
    *,
    input_example: Mapping[str, Any] | None = None,
    example_parameters: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelInfo:
    """Log a task's model folder as an MLflow model of the active run: code, weights, signature, requirements.

    Args:
        name: name of the logged model within its run.
        input_example: one input row. MLflow loads the model once and runs it, and warns if that fails.
        example_parameters: with which it is run; without them, with the task's defaults.
        model_name: what results say in their field `model`.
        params: facts about the model that MLflow shows beside its metrics.
    """
    describe_folder(folder, task, model_name)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    needed = BASE_REQUIREMENTS + task_class(task).requirements
    requirements = [f"{package}=={installed_version(package)}" for package in needed]
    return mlflow.pyfunc.log_model(
        name=name,
        python_model=str(PROJECT_ROOT / "tasks" / "pyfunc.py"),
        code_paths=[str(PROJECT_ROOT / "tasks"), str(PROJECT_ROOT / "models")],
        artifacts={"model": str(folder)},
        signature=signature(task),
        input_example=_example(input_example, example_parameters),
        pip_requirements=requirements,
        params=dict(params or {}),
        tags={"task": task, **(tags or {})},
    )


def _example(row: Mapping[str, Any] | None, parameters: Mapping[str, Any] | None) -> Any:
    """An input example in MLflow's form: a table, and parameters beside it if there are any."""
    if row is None:
        return None
    table = pd.DataFrame([row])
    return (table, dict(parameters)) if parameters else table


def signature(task: str) -> ModelSignature:
    """The MLflow signature of a task: its columns (their content is checked by the task) and parameters."""
    cls = task_class(task)
    columns: list[Any] = [ColSpec(AnyType(), name, required=required) for name, required in cls.inputs.items()]
    specs = [ParamSpec(spec.name, MLFLOW_KINDS[spec.kind], spec.default) for spec in cls.parameters]
    return ModelSignature(inputs=Schema(columns), params=ParamSchema(specs) if specs else None)  # type: ignore[arg-type]


def register(model_uri: str, name: str, tags: Mapping[str, str]) -> ModelVersion:
    """Make a logged model the next version of registered model `name`, with tags (`task` among them)."""
    return mlflow.register_model(model_uri, name, tags=dict(tags))


def version_of_run(name: str, run_id: str) -> ModelVersion | None:
    """The version of `name` that a run registered, if it did."""
    escaped = name.replace("'", "")
    found = open_store().search_model_versions(f"name = '{escaped}' and run_id = '{run_id}'")
    return found[0] if found else None


def champion(name: str) -> ModelVersion | None:
    """The version with the alias `champion`, or None."""
    try:
        return open_store().get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def promote(name: str, version: str | int) -> None:
    """Make a version the champion."""
    MlflowClient().set_registered_model_alias(name, CHAMPION, str(version))


def promote_if_better(name: str, version: str | int, contender: Contender) -> str:
    """Make a trained version champion if it beats the present one; returns what was decided and why, in words.

    Metrics are compared on the same validation data only; a tie keeps the champion.
    """
    with store_lock():
        # Not through open_store, which takes the same lock.
        try:
            present = MlflowClient().get_model_version_by_alias(name, CHAMPION)
        except MlflowException:
            present = None
        if present is None:
            promote(name, version)
            return f"{name} version {version} is the first and becomes champion"
        same_data = (present.tags.get("data_sha256"), present.tags.get("split_sha256")) == (
            contender.data_sha256,
            contender.split_sha256,
        )
        if not same_data:
            return f"{name} version {version} was validated on other data than champion {present.version}, which stays"
        best = float(present.tags.get(contender.metric, "nan"))
        metric = contender.metric.replace("val_", "validation ").replace("_", " ")
        if not contender.value > best:
            return (
                f"champion {present.version} of {name} stays: its {metric} is {best:.4f}, "
                f"version {version} has {contender.value:.4f}"
            )
        promote(name, version)
        return (
            f"{name} version {version} becomes champion: {metric} {contender.value:.4f}, "
            f"version {present.version} had {best:.4f}"
        )
