"""Writing runs to MLflow: the only module that does, with `experiments.tracking.operations`.

Whatever ends a run ends it in MLflow too: FINISHED, FAILED with a tag `error`, or KILLED after Ctrl-C. Going on with a
run logs what the run lacks and nothing twice. A training does not wait for a tracking server that is away: what it logs
goes through a spool (`experiments.tracking.sending`).
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from experiments.config import ConfigError, LeaveAloneError, TrainingError, UserError
from experiments.tracking.operations import away_in_words, nameless, perform
from experiments.tracking.sending import AwayError, Direct, Sender
from experiments.tracking.spool import SPOOL, Operation, Spool
from experiments.tracking.store import (
    CONFIG_FILE,
    artifact_disk,
    checkpoint_store,
    git_commit,
    impatient,
    is_server,
    opened_store,
    resumable_run,
    store_folder,
)
from experiments.tracking.tracker import Tracker, batch, now
from tasks.runs import logged_steps

__all__ = [
    "CONFIG_FILE",
    "Tracker",
    "abandon_run",
    "artifact_disk",
    "catch_up",
    "checkpoint_store",
    "end_shared_run",
    "git_commit",
    "resumable_run",
    "shared_run",
    "store_folder",
    "tracked_run",
]

FINISHED = RunStatus.to_string(RunStatus.FINISHED)


def _sender(client: MlflowClient, run_id: str, folder: Path = SPOOL) -> Sender:
    def send(operation: Operation, files: Path | None, again: bool) -> None:
        with away_in_words():
            perform(client, run_id, operation, files, again)

    return Sender(nameless(client.tracking_uri), Spool(folder, run_id), send, away_in_words)


def _tracker(client: MlflowClient, run: Run, known_epochs: set[int], waits: bool) -> Tracker:
    """A tracker; one that `waits` does so for a store that never goes away, or for the server as MLflow does."""
    run_id = run.info.run_id
    if waits or not is_server(client.tracking_uri):
        sender = Direct(lambda operation, files, again: perform(client, run_id, operation, files, again))
    else:
        sender = _sender(client, run_id)
    return Tracker(client, run, known_epochs, sender)


def catch_up(run_id: str, folder: Path = SPOOL, wait: bool = False) -> int:
    """Send what waits for a run, if anything does; returns how many operations that was. `wait` as in `opened_store`.

    Raises LeaveAloneError if another process is at it or the server does not answer, ConfigError if what waits is
    damaged or the server will not have it.
    """
    if not Spool(folder, run_id).exists:
        return 0
    sender = _sender(opened_store(wait), run_id, folder)
    sender.spool.take()
    try:
        return sender.flush()
    except AwayError as error:
        raise LeaveAloneError(f"{error}; {sender.advice}") from error
    except MlflowException as error:
        text = f"run {run_id}: {sender.server} refuses what waits in {sender.spool.folder}: {error}"
        raise ConfigError(text) from error
    finally:
        sender.spool.close()


@contextmanager
def tracked_run(
    experiment: str,
    resume: str = "none",
    *,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    system_metrics: bool = True,
) -> Iterator[Tracker]:
    """An active run with `tags`: a new one, the one that `mlflow run` made, or the run `resume` again.

    A new run goes to the experiment that MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID name, else to `experiment`.
    """
    wait = parent is not None  # nobody waits for the next one of many
    client = opened_store(wait)
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    known_epochs: set[int] = set()
    if resume != "none":
        if catch_up(resume, wait=wait) and client.get_run(resume).info.status == FINISHED:
            raise LeaveAloneError(
                f"resume is {resume!r}, which was finished: its results had waited here, and are sent now"
            )
        known_epochs = logged_steps(client, resume, "val_loss")
        active = mlflow.start_run(run_id=resume, nested=parent is not None, log_system_metrics=system_metrics)
        if launched:
            _refer(client, launched, active)
    elif launched:
        active = mlflow.start_run(run_id=launched, log_system_metrics=system_metrics)
    else:
        active = mlflow.start_run(
            # Nested runs are shown under their parent only within its experiment.
            experiment_id=client.get_run(parent).info.experiment_id if parent else _experiment(client, experiment),
            parent_run_id=parent,
            nested=parent is not None,
            tags=dict(tags or {}),
            log_system_metrics=system_metrics,
        )
    tracker = _tracker(client, client.get_run(active.info.run_id), known_epochs, waits=False)
    with _ended_in_mlflow(tracker):
        yield tracker


def _refer(client: MlflowClient, launched: str, run: Run) -> None:
    """Say on the run that `mlflow run` made that another one is gone on with."""
    name, note = f"resumed {run.info.run_name}", f"See run {run.info.run_id}."
    tags = {"resumed_run": run.info.run_id, "mlflow.runName": name, "mlflow.note.content": note}
    client.log_batch(launched, tags=[RunTag(key, value) for key, value in tags.items()])


def shared_run(experiment: str, run_id: str | None = None) -> Tracker:
    """A run that several processes write to: a new one, the one that `mlflow run` made, or the run `run_id` again.

    Not being active in any of them, it is RUNNING until one of them calls `end_shared_run`.
    """
    client = opened_store()
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id is None:
        run_id = launched or client.create_run(_experiment(client, experiment), tags=resolve_tags()).info.run_id
    else:
        if launched and launched != run_id:
            _refer(client, launched, client.get_run(run_id))
        client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    return _tracker(client, client.get_run(run_id), set(), waits=True)


def end_shared_run(run_id: str, status: str, tags: Mapping[str, str] | None = None) -> None:
    """Give a run that is active nowhere its final status: FINISHED, FAILED (a tag `error` says why) or KILLED."""
    client = opened_store(wait=True)
    client.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in (tags or {}).items()])
    client.set_terminated(run_id, status)


def abandon_run(run_id: str, reason: str) -> None:
    """Mark a cut-off run that nobody will go on with as FAILED, and say why; a finished one stays as it is.

    Raises ConfigError, as `catch_up` does, if something waits for it that cannot be sent: it may say that it finished.
    """
    catch_up(run_id, wait=True)
    if opened_store(wait=True).get_run(run_id).info.status != FINISHED:
        end_shared_run(run_id, RunStatus.to_string(RunStatus.FAILED), {"error": reason})


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment for a new run: the one that the environment names, else `name`, made if need be.

    Raises ConfigError if it has been deleted.
    """
    number, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
    found = client.get_experiment(number) if number else client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise ConfigError(
            f"the experiment {found.name!r} is deleted; valid: another one (MLFLOW_EXPERIMENT_NAME), or this one "
            f"restored: mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return found.experiment_id


@contextmanager
def _ended_in_mlflow(tracker: Tracker) -> Iterator[None]:
    status = RunStatus.to_string(RunStatus.FAILED)
    try:
        yield
        status = FINISHED
    except KeyboardInterrupt:
        status = RunStatus.to_string(RunStatus.KILLED)
        raise
    except BaseException as error:
        tracker.sender.send(batch(tags={"error": f"{type(error).__name__}: {error}"[:5000]}))
        if isinstance(error, UserError):  # the run had started: no longer only a matter of what was typed
            raise TrainingError(str(error)) from error
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise TrainingError(f"no space left on the disk ({error.filename or 'artifacts'})") from error
        raise
    finally:
        _end(tracker, status)


def _end(tracker: Tracker, status: str) -> None:
    """End the active run; what waits is sent now, or else stays in the spool."""
    if isinstance(tracker.sender, Direct):
        mlflow.end_run(status)
        return
    moment = now()
    if tracker.sender.attempt(lambda: mlflow.end_run(status) or status) is None:
        tracker.sender.keep({"do": "end", "status": status, "end_time": moment})
        active = mlflow.active_run()
        if active is not None and active.info.run_id == tracker.run_id:  # MLflow was not asked, and has it on its list
            with suppress(MlflowException), impatient():
                mlflow.end_run(status)
    tracker.sender.close()
