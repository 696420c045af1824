"""What all pages ask of the platform: which models are registered, answers from one shared worker. No Streamlit here.

A page that is drawn anew asks again; what must outlive it (the worker, its models, its jobs) is held by `Services`.
"""

import os
from collections.abc import Mapping
from typing import Any

from tasks.base import Row
from tasks.registry import RegisteredVersion, expected, load, versions
from tasks.runs import readable_errors
from tasks.runtime.budget import memory_budget
from tasks.runtime.jobs import Job
from tasks.runtime.rows import RequestTask, work
from tasks.runtime.worker import Worker

MLFLOW_UI_SWITCH = "PROJECT_DL_MLFLOW_UI"
MLFLOW_UI = "http://127.0.0.1:5000"
TIME_LIMIT_S = 600.0


class Services:
    """The worker in front of all registered models: one for all visitors, made once a server."""

    def __init__(self, budget_bytes: int | None = None) -> None:
        """Args: budget_bytes: what loaded models may take together; None: see `memory_budget`."""
        self.worker = Worker(lambda reference: RequestTask(load(reference)), budget_bytes or memory_budget(), expected)

    def submit(self, reference: str, row: Row | list[Row], parameters: Mapping[str, Any] | None = None) -> Job:
        """Queue a row for a registered version; read its events, or cancel it. The only event of a list is its `rows`.

        Raises QueueFullError. What is wrong with the row or the parameters, `Job.events` and `Job.result` raise.
        """
        many = isinstance(row, list)
        return self.worker.submit(reference, work(row if many else [row], many=many), parameters, TIME_LIMIT_S)

    def close(self) -> None:
        """End the worker and unload all models."""
        self.worker.close()


def registered(task: str | None = None) -> list[RegisteredVersion]:
    """All registered versions of a task, champions first. Raises StoreUnreachableError."""
    with readable_errors():
        return versions(task)


def tasks_with_models(found: list[RegisteredVersion]) -> dict[str, list[RegisteredVersion]]:
    """Versions by their task; tasks in the order of their names."""
    grouped: dict[str, list[RegisteredVersion]] = {}
    for one in sorted(found, key=lambda one: one.task):
        grouped.setdefault(one.task, []).append(one)
    return grouped


def run_link(run_id: str, experiment_id: str = "0") -> str:
    """Where MLflow's own UI shows a run (`make mlflow-ui`, or PROJECT_DL_MLFLOW_UI)."""
    return f"{mlflow_ui()}/#/experiments/{experiment_id}/runs/{run_id}"


def answer_link(answer_id: str, experiment_id: str) -> str:
    """Where MLflow's own UI shows a logged answer."""
    return f"{mlflow_ui()}/#/experiments/{experiment_id}/traces?selectedEvaluationId={answer_id}"


def mlflow_ui() -> str:
    """The address of MLflow's own UI: a known one, or where `make mlflow-ui` puts it."""
    return known_mlflow_ui() or MLFLOW_UI


def known_mlflow_ui() -> str:
    """PROJECT_DL_MLFLOW_UI or the tracking server's address; empty where neither says where MLflow's UI is."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    return (os.environ.get(MLFLOW_UI_SWITCH) or (server if server.startswith("http") else "")).rstrip("/")
