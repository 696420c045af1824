"""A trained model on its way into the registry: logged, linked to its test metrics, registered, perhaps promoted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

from experiments.tracking.record import Registration, SavedModel
from tasks import registry
from tasks.runs import open_store

MODEL = "model"


@contextmanager
def active(run_id: str) -> Iterator[None]:
    """Have a run be MLflow's active one in this thread; it is still RUNNING afterwards."""
    mlflow.start_run(run_id=run_id, nested=True, log_system_metrics=False)
    try:
        yield
    finally:
        mlflow.end_run("RUNNING")


@contextmanager
def asked_once() -> Iterator[None]:
    """Have MLflow not repeat what a server did not answer: it may have been done, and would be done twice.

    Callers retry, and first look whether the version exists.
    """
    before = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get_raw()
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    try:
        yield
    finally:
        if before is None:
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.unset()
        else:
            MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(before)


def log_and_register(
    run_id: str, model: SavedModel, folder: Path, wanted: Registration | None, log_tested: Callable[[str], None]
) -> tuple[str, str]:
    """Log a model's folder and register it if `wanted`; what an earlier try got done is found, and not done twice.

    `log_tested` logs the test metrics for the logged model, by its id. Returns the model's address, and what was
    decided about it.
    """
    model_id = _logged(run_id)
    if model_id is None:
        with active(run_id):
            info = registry.package(
                MODEL, model.task, folder, model.name, input_example=model.input_example, params=model.params
            )
        assert info.model_id is not None
        model_id = info.model_id
    uri = f"models:/{model_id}"
    log_tested(model_id)
    if wanted is None:
        return uri, "not registered"
    name = model.registered_name
    with asked_once():
        version = registry.version_of_run(name, run_id) or registry.register(uri, name, wanted.tags)
    if wanted.force:
        registry.promote(name, version.version)
        return uri, f"{name} version {version.version} is champion, as asked"
    if not wanted.promote:
        return uri, f"{name} version {version.version} is registered"
    return uri, registry.promote_if_better(name, version.version, wanted.metric)


def _logged(run_id: str) -> str | None:
    """The id of the model that a run has logged whole, if any."""
    client = open_store()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    return next((one.model_id for one in found if one.name == MODEL and str(one.status) == "READY"), None)
