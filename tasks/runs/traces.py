"""Writing answers, and users' ratings of them, as MLflow traces of one span each.

A trace fits better than a run: MLflow's UI lists what went in and out beside how long it took, shows pictures, and
knows a user's judgment as an assessment, which may change later. Each is written at once: what failed is raised here,
not dropped by a queue.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, SpanType
from mlflow.exceptions import MlflowException

from tasks.runs.attachments import packed
from tasks.runs.store import StoreUnreachableError, made_experiment

PERSON = AssessmentSource(source_type="HUMAN", source_id="visitor")
ASYNC_SWITCH = "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"


def write_trace(
    client: MlflowClient,
    experiment: str,
    task: str,
    row: Mapping[str, Any],
    result: Mapping[str, Any],
    at: datetime,
    seconds: float,
    attributes: Mapping[str, Any],
    tags: Mapping[str, str],
    model_id: str = "",
) -> str:
    """Write a trace to an experiment, which is made if need be, and give its id.

    Args:
        attributes: of the span, beside `at`, `seconds` and `attachments`: what of the row became files.
        model_id: of MLflow's logged model, whose page then lists the trace, too.

    Raises MlflowException, StoreUnreachableError or AnswerTooLargeError.
    """
    kinds: dict[str, str] = {}
    inputs, outputs = packed(dict(row), kinds), packed(dict(result), kinds)
    # MLflow's queue would drop what fails with no more than a line in its log.
    os.environ.setdefault(ASYNC_SWITCH, "false")
    begun = int(at.timestamp() * 1e9)
    span = mlflow.start_span_no_context(
        task,
        SpanType.TASK,
        inputs=inputs,
        attributes={
            "at": at.isoformat(),
            "seconds": seconds,
            "attachments": kinds,
            **attributes,
        },  # pyright: ignore[reportArgumentType]  # any JSON is taken
        tags={"task": task, **tags},
        metadata={"mlflow.modelId": model_id} if model_id else None,
        experiment_id=experiment_to_write(client, experiment),
        start_time_ns=begun,
    )
    span.set_outputs(outputs)
    span.end(end_time_ns=begun + int(seconds * 1e9))
    mlflow.flush_trace_async_logging()  # the queue may have been switched on
    try:
        client.get_trace(span.trace_id, display=False)
    except MlflowException as error:  # writing itself does not raise
        raise StoreUnreachableError("MLflow did not take the answer; the terminal may say more") from error
    return span.trace_id


def find_experiment(client: MlflowClient, name: str) -> str | None:
    """The id of an experiment by its name; None if there is none, or if it has been deleted."""
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found is not None and found.lifecycle_stage == "active" else None


def experiment_to_write(client: MlflowClient, name: str) -> str:
    """The id of an experiment, made if need be. Raises StoreUnreachableError if it has been deleted."""
    found = made_experiment(client, name)
    if found.lifecycle_stage != "active":
        raise StoreUnreachableError(
            f"MLflow's experiment {name!r} was deleted: restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}), or delete it for good (mlflow gc)"
        )
    return found.experiment_id
