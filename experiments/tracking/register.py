"""A trained model on its way into the registry: logged, linked to its test metrics, registered, perhaps promoted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow

from tasks import registry
from tasks.runs import open_store

MODEL = "model"
# Logs metrics of a step for a logged model, by its id, unless the run has them.
LogMetrics = Callable[[Mapping[str, float], int, str], None]


@dataclass(frozen=True)
class Registration:
    """Which version of which registered model: tags, and which of them is the metric that makes a champion.

    Attributes:
        promote: whether it becomes champion if it is better; else that is somebody else's business.
    """

    name: str
    tags: dict[str, str]
    metric: str
    promote: bool


@dataclass(frozen=True)
class Delivery:
    """A trained model.

    Attributes:
        task, name, input_example, params: as `registry.package` wants them.
        tested, step: test metrics, and the epoch that they belong to.
        registration: None for a model that is not to be registered.
    """

    task: str
    name: str
    input_example: dict[str, Any]
    params: dict[str, Any]
    tested: dict[str, float]
    step: int
    registration: Registration | None


@dataclass(frozen=True)
class Delivered:
    """Where the model is, and what was decided about it, in words."""

    model_uri: str
    decision: str


@contextmanager
def active(run_id: str) -> Iterator[None]:
    """Have a run be MLflow's active one in this thread; it is still RUNNING afterwards."""
    mlflow.start_run(run_id=run_id, nested=True, log_system_metrics=False)
    try:
        yield
    finally:
        mlflow.end_run("RUNNING")


def deliver(run_id: str, delivery: Delivery, folder: Path, log_metrics: LogMetrics) -> Delivered:
    """Take a model's folder all the way; what an earlier try got done is found, and not done twice."""
    model_id = _logged(run_id)
    if model_id is None:
        with active(run_id):
            info = registry.package(
                MODEL,
                delivery.task,
                folder,
                delivery.name,
                input_example=delivery.input_example,
                params=delivery.params,
            )
        assert info.model_id is not None
        model_id = info.model_id
    uri = f"models:/{model_id}"
    log_metrics(delivery.tested, delivery.step, model_id)
    return Delivered(uri, _register(run_id, delivery.registration, uri))


def _logged(run_id: str) -> str | None:
    """The id of the model that a run has logged whole, if any."""
    client = open_store()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    return next((one.model_id for one in found if one.name == MODEL and str(one.status) == "READY"), None)


def _register(run_id: str, wanted: Registration | None, uri: str) -> str:
    if wanted is None:
        return "not registered"
    version = registry.version_of_run(wanted.name, run_id) or registry.register(uri, wanted.name, wanted.tags)
    if not wanted.promote:
        return f"{wanted.name} version {version.version} is registered"
    return registry.promote_if_better(wanted.name, version.version, wanted.metric)
