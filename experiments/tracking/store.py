"""What programs ask about runs, and where things of a run are: all that needs no more than a client of the store."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from experiments.config import ConfigError, RunUnavailableError
from experiments.tracking.checkpoint import CheckpointStore
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

CONFIG_FILE = "config.json"
ROOT = Path(__file__).resolve().parents[2]
CUT_OFF = "cut off before it had begun"
# How long a server may take to say that it is there; how often it is asked, and for how long by a user who waits, and
# by one training of many, for which nobody does.
PROBE_S, POLL_S, SHORT_S, LONG_S = 1.0, 0.5, 4.0, 240.0


def answers(server: str) -> bool:
    """Whether a server answers within PROBE_S, be it with a refusal; asked from a thread, as names may be slow too."""
    found: list[bool] = []

    def ask() -> None:
        with suppress(MlflowException, OSError):
            creds = get_default_host_creds(server)
            response = http_request(creds, "/health", "GET", max_retries=0, timeout=PROBE_S, raise_on_status=False)
            found.append(response is not None and response.status_code < 500)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PROBE_S)
    return found == [True]


@contextmanager
def answering(wait: bool = False) -> Iterator[None]:
    """Raise RunUnavailableError if the store does not answer: within seconds, or with `wait` within minutes."""
    uri = mlflow.get_tracking_uri()
    try:
        if is_server(uri):
            _reach(uri, LONG_S if wait else SHORT_S)
        elif wait:
            _await_database(uri)
        with readable_errors():
            yield
    except StoreUnreachableError as error:
        if full_disk(error):
            raise
        raise RunUnavailableError(f"{error}; is it running, and does MLFLOW_TRACKING_URI name it?") from error


def _reach(server: str, seconds: float) -> None:
    """Wait for a server. Raises StoreUnreachableError."""
    # By itself MLflow asks a server that is away for four minutes, call after call.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    end = time.monotonic() + seconds
    while not answers(server):
        if time.monotonic() >= end:
            raise StoreUnreachableError(f"MLflow's store at {address(server)} does not answer")
        time.sleep(POLL_S)


def _await_database(uri: str) -> None:
    """Wait for a database server; what is wrong with one that has not come is said where it is opened."""
    end = time.monotonic() + LONG_S
    while not database_answers(uri) and time.monotonic() < end:
        time.sleep(POLL_S)


def opened_store(wait: bool = False) -> Any:
    """A client of the tracking store, as `tasks.runs.open_store`; raises as `answering`."""
    with answering(wait):
        return open_store()


def known_run(run_id: str, wait: bool = False) -> Any | None:
    """A run of MLflow, None if there is none of that id; raises as `answering`."""
    with answering(wait):
        return find_run(open_store(), run_id)


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server, which can be away."""
    return uri.startswith(("http://", "https://"))


def artifact_disk(experiment: str, wait: bool = False) -> Path:
    """An existing folder on the disk that will hold the checkpoints of a new run, for asking how much is free.

    Raises RunUnavailableError as `opened_store` does.
    """
    client = opened_store(wait)
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


def resumable_run(run_id: str, wait: bool = False) -> tuple[Any, dict[str, Any]]:
    """A run of MLflow that can be resumed, and its configuration; `wait` as in `opened_store`.

    Raises ConfigError if there is no such run, it is finished or deleted, or it was not made by this program; one that
    was killed before it had begun is marked so.
    """
    run, client = known_run(run_id, wait), opened_store(wait)
    if run is None:
        raise ConfigError(f"resume is {run_id!r}, and there is no such run in {client.tracking_uri}")
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"resume is {run_id!r}, and that run is deleted")
    if run.info.status == "FINISHED":
        raise RunUnavailableError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to resume")
    stored = stored_config(client, run, wait)
    if stored is None:
        refuse_cut_off(client, run, wait)
        raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program")
    return run, stored


def refuse_cut_off(client: Any, run: Any, wait: bool = False) -> None:
    """Raise ConfigError for a run that was killed before it had a configuration, and mark it as KILLED.

    Runs that neither this program nor `mlflow run` made for it are left to who made them.
    """
    begun = "val_loss" in run.data.metrics or stored_config(client, run, wait) is not None
    if begun or not ("entry_point" in run.data.tags or _launched_here(run)):
        return
    named = f"resume is {run.info.run_id!r}, and that run"
    with answering(wait):
        if run.info.status == "RUNNING" and not end_abandoned(client, run, CUT_OFF):
            raise RunUnavailableError(f"{named} is just being started by another process")
    raise ConfigError(f"{named} was {CUT_OFF}: there is nothing to resume; start it anew")


def _launched_here(run: Any) -> bool:
    """Whether `mlflow run` made a run for this checkout; of a project within a repository it notes both."""
    repository, _, folder = run.data.tags.get("mlflow.source.name", "").removeprefix("file://").partition("#")
    return "mlflow.project.entryPoint" in run.data.tags and (Path(repository) / folder).resolve() == ROOT


def stored_config(client: Any, run: Any, wait: bool = False) -> dict[str, Any] | None:
    """The configuration that a run was started with; None if it has none, or only a part of it."""
    with answering(wait):
        try:
            with artifact_file(client, run, CONFIG_FILE) as path:
                values = read_json(path)
        except (FileNotFoundError, ValueError):
            return None
    return values if isinstance(values, dict) and values else None


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
