"""Find runs in MLflow's tracking store, read what they logged, and end those whose process is gone."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.utils.file_utils import local_file_uri_to_path

from tasks.runs.store import readable_errors

# To MLflow a run whose process is gone is RUNNING forever, unless its reader corrects that.
RUNNING, KILLED = "RUNNING", "KILLED"
# What MLflow says of something that is not there; the second of an alias, and, before it asks the store, of what cannot
# be an id.
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
PAGE = 1000  # results in an answer
Entity = TypeVar("Entity")


def is_absent(error: MlflowException) -> bool:
    """Whether the store answered that there is no such thing; a store that did not answer says nothing."""
    return error.error_code in ABSENT


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """A run by its id, or None if there is none. Raises MlflowException if the store does not answer."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def local_artifacts(run: Run) -> Path | None:
    """The folder of a run's artifacts where it is on this machine's disk, else None."""
    return local_path(run.info.artifact_uri or "")


def local_path(uri: str) -> Path | None:
    """The place of an artifact location where it is on this machine's disk, else None."""
    # In a file's URI blanks and other letters are percent-encoded, in a plain path they are not.
    path = local_file_uri_to_path(uri) if uri.startswith("file:") else uri
    return Path(path) if path.startswith("/") else None


def logged_steps(client: MlflowClient, run_id: str, key: str) -> set[int]:
    """The steps at which a run has a value for a metric."""
    return {metric.step for metric in client.get_metric_history(run_id, key)}


def metric_values(client: MlflowClient, run_id: str, key: str) -> list[float]:
    """A metric's values in the order of their steps."""
    return [metric.value for metric in sorted(client.get_metric_history(run_id, key), key=lambda m: m.step)]


def all_pages(ask: Callable[[str | None], PagedList[Entity]]) -> list[Entity]:
    """All that a search finds, however many pages its answer has. Args: ask: for the page of a token."""
    page = ask(None)
    found = list(page)
    while page.token:
        page = ask(page.token)
        found += page
    return found


def search_runs(client: MlflowClient, condition: str) -> list[Run]:
    """The runs of all experiments that meet a condition, newest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest = ["attributes.start_time DESC"]
    return all_pages(
        lambda token: client.search_runs(experiments, condition, max_results=PAGE, order_by=newest, page_token=token)
    )


def tagged_runs(client: MlflowClient, key: str, value: str) -> list[Run]:
    """The runs of all experiments that have a tag with this value, newest first."""
    escaped = value.replace("'", "")
    return search_runs(client, f"tags.`{key}` = '{escaped}'")


def nested_runs(client: MlflowClient, parent_id: str) -> list[Run]:
    """The runs directly under a parent run, newest first."""
    return tagged_runs(client, "mlflow.parentRunId", parent_id)


@contextmanager
def artifact_file(client: MlflowClient, run: Run, path: str) -> Iterator[Path]:
    """A file among a run's artifacts, fetched for the time being where the artifacts are not on this machine.

    Raises FileNotFoundError if the run has no such artifact, StoreUnreachableError if that cannot be told.
    """
    missing = FileNotFoundError(f"run {run.info.run_id} has no artifact {path}")
    folder = local_artifacts(run)
    if folder is not None:
        if not (folder / path).is_file():
            raise missing
        yield folder / path
        return
    with tempfile.TemporaryDirectory() as temporary:
        with readable_errors():
            # A download that fails for any reason is, to MLflow, of a file that is not there; its listing knows better.
            listed = client.list_artifacts(run.info.run_id, path.rpartition("/")[0] or None)
            there = any(item.path == path for item in listed)
            fetched = client.download_artifacts(run.info.run_id, path, temporary) if there else None
        if fetched is None:
            raise missing
        yield Path(fetched)


def checkpoint_folder(run: Run) -> Path:
    """Where the checkpoints of a run are, or will be, on this machine: among its artifacts if those are here."""
    return (local_artifacts(run) or Path("checkpoints") / run.info.run_id) / "checkpoints"


def claim_file(run: Run) -> Path:
    """The lock file that the process that works on a run holds, in its checkpoints' folder."""
    return checkpoint_folder(run) / ".in-use"


def end_abandoned(client: MlflowClient, run: Run, reason: str) -> bool:
    """Mark a run as KILLED, with `reason` as its tag `error`, if it is RUNNING and no process here works on it.

    To be called for a run whose own process is known to be gone; returns whether it was marked.
    """
    if run.info.status != RUNNING:
        return False
    try:
        with FileLock(claim_file(run)).acquire(timeout=0):
            if client.get_run(run.info.run_id).info.status != RUNNING:  # its last owner ended it just now
                return False
            client.set_tag(run.info.run_id, "error", reason)
            client.set_terminated(run.info.run_id, KILLED)
            return True
    except Timeout:
        return False
