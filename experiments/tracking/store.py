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
from tasks.runs import StoreUnreachableError, artifact_file, find_run, local_artifacts, open_store, store_in_words

CONFIG_FILE = "config.json"
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


def opened_store(wait: bool = False) -> Any:
    """A client of the tracking store, as `tasks.runs.open_store`.

    Raises LeaveAloneError if it does not answer: soon, or with `wait` after the minutes that MLflow gives a server.
    """
    try:
        with store_in_words(), nullcontext() if wait else impatient():
            return open_store()
    except StoreUnreachableError as error:
        raise LeaveAloneError(f"{error}; is it running, and does MLFLOW_TRACKING_URI name it?") from error


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
    artifacts = local_artifacts(run)
    return CheckpointStore((artifacts or Path("checkpoints") / run.info.run_id) / "checkpoints")


def resumable_run(run_id: str, wait: bool = False) -> tuple[Any, dict[str, Any]]:
    """A run of MLflow that can be gone on with, and its configuration; `wait` as in `opened_store`.

    Raises ConfigError if there is no such run, it is finished or deleted, or it was not made by this program.
    """
    client = opened_store(wait)
    run = find_run(client, run_id)
    if run is None:
        raise ConfigError(f"resume is {run_id!r}, and there is no such run in {client.tracking_uri}")
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"resume is {run_id!r}, and that run is deleted")
    if run.info.status == "FINISHED":
        raise LeaveAloneError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to go on with")
    try:
        with artifact_file(client, run, CONFIG_FILE) as path:
            return run, dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program") from error


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
