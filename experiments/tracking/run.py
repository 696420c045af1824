"""Writing runs to MLflow: the only module that does, with `experiments.tracking.operations`.

Whatever ends a run ends it in MLflow too: FINISHED, FAILED with a tag `error`, or KILLED after a signal. Resuming
a run logs what the run lacks and nothing twice. A training does not wait for a tracking server that is away: what it
logs goes through a spool (`experiments.tracking.sending`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from experiments.config import ConfigError, LeaveAloneError, TrainingError, UserError, interrupts
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
from tasks.disk import full_disk
from tasks.runs import StoreUnreachableError, logged_steps, store_in_words

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

FINISHED, FAILED, KILLED = (
    RunStatus.to_string(status) for status in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)
)
# What says all in its text.
SPOKEN = (UserError, TrainingError, StoreUnreachableError)


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
    known_epochs: set[int] = set()
    if resume != "none":
        if catch_up(resume, wait=wait) and client.get_run(resume).info.status == FINISHED:
            raise LeaveAloneError(
                f"resume is {resume!r}, which was finished: its results had waited here, and are sent now"
            )
        known_epochs = logged_steps(client, resume, "val_loss")
    with interrupts.held():
        launched = os.environ.pop(interrupts.LAUNCHED, None)
        if resume != "none" or launched:
            # A nested run is never the one that `mlflow run` made: that is its parent.
            run_id = resume if resume != "none" else launched
            active = mlflow.start_run(run_id=run_id, nested=parent is not None, log_system_metrics=system_metrics)
        else:
            active = mlflow.start_run(
                # Nested runs are shown under their parent only within its experiment.
                experiment_id=client.get_run(parent).info.experiment_id if parent else _experiment(client, experiment),
                parent_run_id=parent,
                nested=parent is not None,
                tags={"entry_point": experiment, **(tags or {})},
                log_system_metrics=system_metrics,
            )
        tracker = _tracker(client, active, known_epochs, waits=False)
        wrapper = launched if launched != tracker.run_id else None
        with _ended_in_mlflow(tracker, wrapper):
            if wrapper:
                _refer(client, wrapper, active)
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
    launched = os.environ.pop(interrupts.LAUNCHED, None)
    if run_id is None:
        tags = {"entry_point": experiment, **resolve_tags()}
        run_id = launched or client.create_run(_experiment(client, experiment), tags=tags).info.run_id
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
        end_shared_run(run_id, FAILED, {"error": reason})


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
def _ended_in_mlflow(tracker: Tracker, wrapper: str | None) -> Iterator[None]:
    """End the run as what is done within ends, and with it the run of `mlflow run` that only points to it."""
    try:
        with interrupts.allowed():
            yield
    except BaseException as error:
        in_a_line = _finish(tracker, wrapper, error)
        if in_a_line:
            raise TrainingError(in_a_line) from error
        raise
    in_a_line = _finish(tracker, wrapper, None)
    if in_a_line:
        raise TrainingError(in_a_line)


def _finish(tracker: Tracker, wrapper: str | None, error: BaseException | None) -> str:
    """Give a run the status that follows from what ended it, if anything did; returns `_in_a_line`."""
    stopped = isinstance(error, (KeyboardInterrupt, GeneratorExit))
    status = FINISHED if error is None else KILLED if stopped else FAILED
    if status == FAILED:  # if this is refused, so is the end, which says why
        said = f"{type(error).__name__}: {_words(error)}"
        _refused(lambda: tracker.sender.send(batch(tags={"error": said[:5000]})))
    refused = _refused(lambda: _end(tracker, status))
    if wrapper:
        refused = _refused(lambda: tracker.client.set_terminated(wrapper, status)) or refused
    return _in_a_line(tracker, error, refused)


def _words(error: BaseException | None) -> str:
    return str(error) if isinstance(error, SPOKEN) else full_disk(error) or str(error)


def _in_a_line(tracker: Tracker, error: BaseException | None, refused: str) -> str:
    """What ended a run, with what to do about it, where a line can say it; other errors get that as a note."""
    full = full_disk(error)
    why = "" if full else f", as MLflow cannot be told: {refused}"
    stays = f"run {tracker.run_id} stays RUNNING{why}" if refused else ""
    advice = [part for part in (stays, tracker.resumed_by and f"to resume: {tracker.resumed_by}") if part]
    if full or (refused and (error is None or isinstance(error, SPOKEN))):
        return "; ".join([_words(error) if error is not None else "all is done", *advice])
    if isinstance(error, (UserError, StoreUnreachableError)):  # with a run, it is not only a matter of what was typed
        return str(error)
    if error is not None and advice:
        error.add_note("; ".join(advice))
    return ""


def _refused(action: Callable[[], object]) -> str:
    """Do something with the store; returns why it did not answer, if it did not."""
    try:
        with store_in_words():
            action()
        return ""
    except StoreUnreachableError as error:
        return str(error)


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
