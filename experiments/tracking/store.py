"""What programs ask about runs, and where things of a run are: all that needs no more than a client of the store."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from experiments.config import ConfigError, LeaveAloneError
from experiments.tracking.checkpoint import CheckpointStore
from tasks.json_files import read_json
from tasks.runs import (
    StoreUnreachableError,
    artifact_file,
    checkpoint_folder,
    end_abandoned,
    find_run,
    open_store,
    store_in_words,
)

CONFIG_FILE = "config.json"
# Tags of runs that this program makes, and of those that `mlflow run` makes for it.
ENTRY_POINT = {"entry_point", "mlflow.project.entryPoint"}
CUT_OFF = "cut off before it had begun"
# By itself MLflow asks a server that is away for four minutes, call after call.
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


@contextmanager
def impatient() -> Iterator[None]:
    """Have MLflow's calls fail soon if its server is away, unless the environment says how long they may take."""
    added = {name: value for name, value in IMPATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def answering(wait: bool = False) -> Iterator[None]:
    """Raise LeaveAloneError if the store does not answer: soon, or with `wait` after the minutes that MLflow takes."""
    try:
        with store_in_words(), nullcontext() if wait else impatient():
            yield
    except StoreUnreachableError as error:
        raise LeaveAloneError(f"{error}; is it running, and does MLFLOW_TRACKING_URI name it?") from error


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

    Raises LeaveAloneError as `opened_store` does.
    """
    client = opened_store(wait)
    launched = os.environ.get("MLFLOW_RUN_ID")
    if launched:
        folder = checkpoint_store(client.get_run(launched)).folder
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", experiment)
        found = client.get_experiment_by_name(name)
        location = (found.artifact_location if found else "").removeprefix("file://")
        folder = Path(location if location.startswith("/") else ".")
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def store_folder() -> Path:
    """The folder of the tracking store; the working directory where the store is behind a server."""
    uri = opened_store().tracking_uri
    return Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:///") else Path()


def checkpoint_store(run: Any) -> CheckpointStore:
    """Where the checkpoints of a run of MLflow are, or will be, on this machine."""
    return CheckpointStore(checkpoint_folder(run))


def resumable_run(run_id: str, wait: bool = False) -> tuple[Any, dict[str, Any]]:
    """A run of MLflow that can be gone on with, and its configuration; `wait` as in `opened_store`.

    Raises ConfigError if there is no such run, it is finished or deleted, or it was not made by this program; one that
    was killed before it had begun is marked so.
    """
    run, client = known_run(run_id, wait), opened_store(wait)
    if run is None:
        raise ConfigError(f"resume is {run_id!r}, and there is no such run in {client.tracking_uri}")
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"resume is {run_id!r}, and that run is deleted")
    if run.info.status == "FINISHED":
        raise LeaveAloneError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to go on with")
    stored = _stored_config(client, run, wait)
    if stored is None:
        refuse_cut_off(client, run, wait)
        raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program")
    return run, stored


def refuse_cut_off(client: Any, run: Any, wait: bool = False) -> None:
    """Raise ConfigError for a run that was killed before it had a configuration, and mark it as KILLED.

    Runs that neither this program nor `mlflow run` made are left to who made them.
    """
    if not ENTRY_POINT & set(run.data.tags) or _stored_config(client, run, wait) is not None:
        return
    named = f"resume is {run.info.run_id!r}, and that run"
    with answering(wait):
        if run.info.status == "RUNNING" and not end_abandoned(client, run, CUT_OFF):
            raise LeaveAloneError(f"{named} is just being started by another process")
    raise ConfigError(f"{named} was {CUT_OFF}: there is nothing to resume; start it anew")


def _stored_config(client: Any, run: Any, wait: bool) -> dict[str, Any] | None:
    """The configuration that a run was started with; None if it has none, or only a part of it."""
    with answering(wait):
        try:
            with artifact_file(client, run, CONFIG_FILE) as path:
                return dict(read_json(path))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
