"""Package a task's model as an MLflow model, and make it a version in the registry."""

import os
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from tasks import describe_folder, task_class

PROJECT_ROOT = Path(__file__).resolve().parents[2]
BASE_REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors")
# Of texts: string. MLflow reads CSV and lists of texts only into columns that have a type.
COLUMN_TYPES: Mapping[tuple[str, str], Any] = {
    ("chatbot", "messages"): Array(AnyType()),  # of objects that may have more fields than MLflow's own type allows
    ("sequence-reversal", "sequence"): Array(DataType.long),
    ("image-classification", "image"): AnyType(),  # base64 or rows of pixels
}
MLFLOW_KINDS = {"integer": "long", "number": "double", "string": "string", "boolean": "boolean"}


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
    needed = BASE_REQUIREMENTS + task_class(task).needs(folder)
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
    columns: list[Any] = [
        ColSpec(COLUMN_TYPES.get((task, name), DataType.string), name, required=required)
        for name, required in cls.inputs.items()
    ]
    specs = [
        ParamSpec(name, MLFLOW_KINDS[spec["type"]], spec["default"]) for name, spec in cls.parameters.specs().items()
    ]
    return ModelSignature(inputs=Schema(columns), params=ParamSchema(specs) if specs else None)  # type: ignore[arg-type]


def register(model_uri: str, name: str, tags: Mapping[str, str]) -> ModelVersion:
    """Make a logged model the next version of registered model `name`, with tags (`task` among them)."""
    return mlflow.register_model(model_uri, name, tags=dict(tags))
