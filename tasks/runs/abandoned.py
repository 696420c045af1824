"""Runs whose process is gone: to MLflow they are RUNNING for ever, unless whoever notices it says otherwise."""

from pathlib import Path

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run

from tasks.runs.reading import local_artifacts

RUNNING, KILLED = "RUNNING", "KILLED"


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
