"""Writing runs to MLflow.

Whatever ends a run ends it in MLflow too: FINISHED, FAILED with a tag `error`, or KILLED after a signal. Resuming
a run logs what the run lacks and nothing twice. A training does not wait for a tracking server that is away
(`experiments.tracking.calls`): its checkpoints hold all that is to be logged, and at its end the server is asked again.
"""

import gc
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from experiments.config import ConfigError, TrainingError, UserError, interrupts
from experiments.tracking.calls import Calls
from experiments.tracking.record import git_commit
from experiments.tracking.store import (
    answering,
    is_server,
    known_run,
    opened_store,
    patience,
)
from experiments.tracking.tracker import Tracker, now
from tasks.disk import full_disk
from tasks.runs import StoreUnreachableError, logged_steps, made_experiment, open_store, readable_errors

__all__ = [
    "Tracker",
    "abandon_run",
    "end_shared_run",
    "git_commit",
    "shared_run",
    "tracked_run",
]

RUNNING, FINISHED, FAILED, KILLED = (
    RunStatus.to_string(status)
    for status in (RunStatus.RUNNING, RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)
)
EXPERIMENT_KIND, GUESSED = "mlflow.experimentKind", "_inferred"
USER_FACING_ERRORS = (UserError, TrainingError, StoreUnreachableError)
END_TRIES = 3  # to give a run its end, where SQLite is locked


@contextmanager
def tracked_run(
    experiment: str,
    resume: str = "none",
    *,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    system_metrics: bool = True,
    started: int | None = None,
) -> Iterator[Tracker]:
    """An active run with `tags`: a new one, the one that `mlflow run` made, or the run `resume` again.

    A new run goes to the experiment that MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID name, else to `experiment`;
    `started` is when it began, in milliseconds, if that was not now.
    """
    client = opened_store()
    with interrupts.held():
        launched = os.environ.pop(interrupts.LAUNCHED, None)
        # A nested run is never the one that `mlflow run` made: that is its parent.
        run_id = resume if resume != "none" else launched
        with answering():
            known_epochs = logged_steps(client, resume, "val_loss") if resume != "none" else set()
            if run_id:
                _run_again(client, run_id)
            else:
                # Nested runs are shown under their parent only within its experiment.
                place = client.get_run(parent).info.experiment_id if parent else _experiment(client, experiment)
                nested = {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
                run_id = _create(client, place, {"entry_point": experiment, **nested, **(tags or {})}, started)
            run = client.get_run(run_id)
            if parent is None:
                _mark_kind(client, run.info.experiment_id)
        tracker = _tracker(client, run, known_epochs)
        # What it says of a server that is away, `calls` says in fewer words.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        monitor = SystemMetricsMonitor(run_id, resume_logging=resume != "none") if system_metrics else None
        wrapper = launched if launched != run_id else None
        with _ended_in_mlflow(tracker, wrapper, monitor):
            if wrapper:
                _refer(client, wrapper, run)
            yield tracker


def _tracker(client: MlflowClient, run: Run, known_epochs: set[int]) -> Tracker:
    server = client.tracking_uri if is_server(client.tracking_uri) else ""
    return Tracker(client, run, known_epochs, Calls(server, patience()))


def _create(client: MlflowClient, experiment_id: str, tags: Mapping[str, str], started: int | None = None) -> str:
    return client.create_run(experiment_id, started, resolve_tags(dict(tags))).info.run_id


def _run_again(client: MlflowClient, run_id: str) -> None:
    """Mark a run as RUNNING; what ended it before is no longer true of it."""
    if "error" in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, "error")
    client.update_run(run_id, status=RUNNING)


def _refer(client: MlflowClient, launched: str, run: Run) -> None:
    """Say on the run that `mlflow run` made that another one is resumed."""
    name, note = f"resumed {run.info.run_name}", f"See run {run.info.run_id}."
    tags = {"resumed_run": run.info.run_id, "mlflow.runName": name, "mlflow.note.content": note}
    client.log_batch(launched, tags=[RunTag(key, value) for key, value in tags.items()])


def shared_run(experiment: str, run_id: str | None = None) -> Tracker:
    """A run that several processes write to: a new one, the one that `mlflow run` made, or the run `run_id` again.

    Not being active in any of them, it is RUNNING until one of them calls `end_shared_run`.
    """
    client = opened_store()
    launched = os.environ.pop(interrupts.LAUNCHED, None)
    with answering():
        if run_id is None:
            run_id = launched or _create(client, _experiment(client, experiment), {"entry_point": experiment})
        else:
            if launched and launched != run_id:
                _refer(client, launched, client.get_run(run_id))
            _run_again(client, run_id)
        run = client.get_run(run_id)
        _mark_kind(client, run.info.experiment_id)
        return _tracker(client, run, set())


def end_shared_run(run_id: str, status: str, tags: Mapping[str, str] | None = None) -> None:
    """Give a run that is active nowhere its final status: FINISHED, FAILED (a tag `error` says why) or KILLED."""
    with answering():
        client = open_store()
        client.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in (tags or {}).items()])
        client.set_terminated(run_id, status)


def abandon_run(run_id: str, reason: str) -> None:
    """Mark a cut-off run that will not be resumed as FAILED, and say why; a finished one stays as it is."""
    run = known_run(run_id)
    if run is not None and run.info.status != FINISHED:
        end_shared_run(run_id, FAILED, {"error": reason})


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of the experiment for a new run: the one that the environment names, else `name`, made if need be.

    Raises ConfigError if it has been deleted.
    """
    number, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
    found = client.get_experiment(number) if number else made_experiment(client, name)
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise ConfigError(
            f"the experiment {found.name!r} is deleted; valid: another one (MLFLOW_EXPERIMENT_NAME), or this one "
            f"restored: mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return found.experiment_id


def _mark_kind(client: MlflowClient, experiment_id: str) -> None:
    """Let MLflow's pages open an experiment on its runs and metrics; what a user chose there stays."""
    kind = client.get_experiment(experiment_id).tags.get(EXPERIMENT_KIND, GUESSED)
    if kind.endswith(GUESSED):  # MLflow's pages guess, and may have guessed wrong while there was no run
        client.set_experiment_tag(experiment_id, EXPERIMENT_KIND, "custom_model_development")


@contextmanager
def _ended_in_mlflow(tracker: Tracker, wrapper: str | None, monitor: SystemMetricsMonitor | None) -> Iterator[None]:
    """End the run as what is done within ends, and with it the run of `mlflow run` that only points to it."""
    if monitor:
        monitor.start()
    try:
        with interrupts.allowed():
            yield
            tracker.flush()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _let_go(error)
        tracker.calls.hurry()
        in_a_line = _finish(tracker, wrapper, monitor, error)
        if in_a_line:
            raise TrainingError(in_a_line) from error
        raise
    in_a_line = _finish(tracker, wrapper, monitor, None)
    if in_a_line:
        raise TrainingError(in_a_line)


def _let_go(stopped: KeyboardInterrupt) -> None:
    """Free what was at work when a signal came: a statement in the middle of a write would keep SQLite locked."""
    errors: list[BaseException] = [stopped]
    for error in errors:  # which grows meanwhile
        traceback.clear_frames(error.__traceback__)
        errors += [link for link in (error.__cause__, error.__context__) if link and link not in errors]
    gc.collect()


def _finish(
    tracker: Tracker, wrapper: str | None, monitor: SystemMetricsMonitor | None, error: BaseException | None
) -> str:
    """Give a run the status that follows from what ended it, if anything did; returns `_in_a_line`."""
    stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
    status = FINISHED if error is None else KILLED if stopped else FAILED
    if status == FAILED:  # if this is refused, so is the end, which says why
        said = f"{type(error).__name__}: {_text(error)}"
        _refused(lambda: tracker.calls.now(lambda: tracker.client.set_tag(tracker.run_id, "error", said[:5000])))
    refused = _refused(lambda: _end(tracker, tracker.run_id, status))
    if wrapper:
        refused = _refused(lambda: _end(tracker, wrapper, status)) or refused
    if monitor and not refused:
        _refused(lambda: tracker.calls.now(monitor.finish))
    tracker.calls.close()
    return _in_a_line(tracker, error, refused)


def _text(error: BaseException | None) -> str:
    return str(error) if isinstance(error, USER_FACING_ERRORS) else full_disk(error) or str(error)


def _in_a_line(tracker: Tracker, error: BaseException | None, refused: str) -> str:
    """What ended a run, with what to do about it, where a line can say it; other errors get that as a note."""
    full = full_disk(error)
    why = "" if full or isinstance(error, StoreUnreachableError) else f", as MLflow cannot be told: {refused}"
    stays = f"run {tracker.run_id} stays RUNNING{why}" if refused else ""
    advice = [part for part in (stays, tracker.resumed_by and f"to resume: {tracker.resumed_by}") if part]
    if full or (refused and (error is None or isinstance(error, USER_FACING_ERRORS))):
        return "; ".join([_text(error) if error is not None else "all is done", *advice])
    if isinstance(error, (UserError, StoreUnreachableError)):  # with a run, it is not only a matter of what was typed
        return str(error)
    if error is not None and advice:
        error.add_note("; ".join(advice))
    return ""


def _refused(action: Callable[[], object]) -> str:
    """Do something with the store; returns why it did not answer, if it did not."""
    try:
        with readable_errors():
            action()
        return ""
    except StoreUnreachableError as error:
        return str(error)


def _end(tracker: Tracker, run_id: str, status: str) -> None:
    moment = tracker.ended or now()
    for further in reversed(range(END_TRIES)):
        try:
            tracker.calls.now(lambda: tracker.client.set_terminated(run_id, status, moment))
            return
        except MlflowException as error:  # `mlflow run` may write its own end for longer than SQLite waits
            if not further or "database is locked" not in str(error):
                raise
