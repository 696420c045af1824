"""What programs ask about runs, and where things of a run are: all that needs no more than a client of the store."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from experiments.config import ConfigError, RunUnavailableError
from experiments.tracking.checkpoint import CheckpointStore
from experiments.tracking.record import CONFIG_FILE, ROOT, SPEED_TRIAL
from tasks.deadline import within
from tasks.disk import full_disk
from tasks.json_files import read_json
from tasks.runs import (
    StoreUnreachableError,
    address,
    artifact_file,
    checkpoint_folder,
    database_answers,
    end_abandoned,
    find_run,
    local_path,
    open_store,
    readable_errors,
    sqlite_file,
)

CUT_OFF = "cut off before it had begun"
# How long a server may take to answer a probe; how often it is asked, and for how long if a user waits, and if not
# (one training of many).
PROBE_S, POLL_S, SHORT_S, LONG_S = 1.0, 0.5, 4.0, 240.0
_patient = ContextVar("patient", default=False)


def answers(server: str) -> bool:
    """Whether a server answers within PROBE_S, be it with a refusal; asked from a thread, as names may be slow too."""

    def ask() -> bool:
        creds = get_default_host_creds(server)
        response = http_request(creds, "/health", "GET", max_retries=0, timeout=PROBE_S, raise_on_status=False)
        return response is not None and response.status_code < 500

    try:
        return within(PROBE_S, ask)
    except (MlflowException, OSError):  # a TimeoutError is one
        return False


@contextmanager
def patient() -> Iterator[None]:
    """Within, wait minutes instead of seconds for a store that does not answer."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


def patience() -> float:
    """Seconds to wait for a server at the end of a run; 0 outside `patient`, where the run's own time decides."""
    return LONG_S if _patient.get() else 0.0


@contextmanager
def answering() -> Iterator[None]:
    """Raise RunUnavailableError if the store does not answer within seconds, or within minutes where `patient`."""
    uri = mlflow.get_tracking_uri()
    try:
        if is_server(uri):
            # By default MLflow retries a server that is away for four minutes, in each call.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            if not _comes(lambda: answers(uri), patience() or SHORT_S):
                raise StoreUnreachableError(f"MLflow's store at {address(uri)} does not answer")
        elif _patient.get():  # a database that is still unreachable is reported where it is opened
            _comes(lambda: database_answers(uri), LONG_S)
        with readable_errors():
            yield
    except StoreUnreachableError as error:
        if full_disk(error):
            raise
        raise RunUnavailableError(f"{error}; is it running, and does MLFLOW_TRACKING_URI name it?") from error


def _comes(answers: Callable[[], bool], seconds: float) -> bool:
    """Wait until something answers; whether it did in time."""
    end = time.monotonic() + seconds
    while not (found := answers()) and time.monotonic() < end:
        time.sleep(POLL_S)
    return found


def opened_store() -> Any:
    """A client of the tracking store, as `tasks.runs.open_store`; raises as `answering`."""
    with answering():
        return open_store()


def known_run(run_id: str) -> Any | None:
    """A run of MLflow, None if there is none of that id; raises as `answering`."""
    with answering():
        return find_run(open_store(), run_id)


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server, which can be away."""
    return uri.startswith(("http://", "https://"))


def artifact_disk(experiment: str) -> Path:
    """An existing folder on the disk that will hold the checkpoints of a new run, for asking how much is free.

    Raises RunUnavailableError as `opened_store` does.
    """
    client = opened_store()
    launched = os.environ.get("MLFLOW_RUN_ID")
    if launched:
        folder = checkpoint_store(client.get_run(launched)).folder
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", experiment)
        found = client.get_experiment_by_name(name)
        folder = local_path(found.artifact_location if found else "") or Path()
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def store_folder() -> Path:
    """The folder of the tracking store; the working directory where the store is behind a server."""
    file = sqlite_file(opened_store().tracking_uri)
    return file.parent if file else Path()


def checkpoint_store(run: Any) -> CheckpointStore:
    """Where the checkpoints of a run of MLflow are, or will be, on this machine."""
    return CheckpointStore(checkpoint_folder(run))


def named_run(run_id: str) -> Any:
    """The run that `resume` names. Raises ConfigError if there is none of that id, or it is deleted."""
    run = known_run(run_id)
    if run is None:
        store = address(mlflow.get_tracking_uri())
        raise ConfigError(f"resume is {run_id!r}, and there is no such run in {store}; valid: the id of a run there")
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"resume is {run_id!r}, and that run is deleted")
    return run


def resumable_run(run_id: str) -> tuple[Any, dict[str, Any]]:
    """A run of MLflow that can be resumed, and its configuration.

    Raises ConfigError if there is no such run, it is finished or deleted, or it was not made by this program; one that
    was killed before it had begun is marked so.
    """
    run, client = named_run(run_id), opened_store()
    if run.info.status == "FINISHED":
        raise RunUnavailableError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to resume")
    stored = stored_config(client, run)
    if stored is None:
        refuse_cut_off(client, run)
        raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program")
    return run, stored


def refuse_cut_off(client: Any, run: Any) -> None:
    """Raise ConfigError for a run that was killed before it had a configuration, and mark it as KILLED.

    Runs that neither this program nor `mlflow run` made for it are left to who made them.
    """
    begun = "val_loss" in run.data.metrics or stored_config(client, run) is not None
    if begun or not ("entry_point" in run.data.tags or _launched_here(run)):
        return
    named = f"resume is {run.info.run_id!r}, and that run"
    with answering():
        if run.info.status == "RUNNING" and not end_abandoned(client, run, CUT_OFF):
            raise RunUnavailableError(f"{named} is just being started by another process")
    raise ConfigError(f"{named} was {CUT_OFF}: there is nothing to resume; start it anew")


def _launched_here(run: Any) -> bool:
    """Whether `mlflow run` made a run for this checkout; of a project within a repository it notes both."""
    repository, _, folder = run.data.tags.get("mlflow.source.name", "").removeprefix("file://").partition("#")
    return "mlflow.project.entryPoint" in run.data.tags and (Path(repository) / folder).resolve() == ROOT


def stored_config(client: Any, run: Any) -> dict[str, Any] | None:
    """The configuration that a run was started with; None if it has none, or only a part of it."""
    with answering():
        try:
            with artifact_file(client, run, CONFIG_FILE) as path:
                values = read_json(path)
        except (FileNotFoundError, ValueError):
            return None
    fields = {key: value for key, value in values.items() if key != SPEED_TRIAL} if isinstance(values, dict) else {}
    return fields or None


def artifact_path(run_id: str, name: str) -> str:
    """Where a run keeps an artifact: a path where it is on this machine, else an address."""
    uri = open_store().get_run(run_id).info.artifact_uri or ""
    return f"{local_path(uri) or uri}/{name}"
