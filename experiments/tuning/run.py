"""Working on a study until it has its trials; then one worker retrains the best settings over seeds and reports."""

import os
import sys
import time
import warnings

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from experiments.config import ConfigError, TrainingError, TuneConfig, UserError, interrupts
from experiments.data.images import kept_in_memory
from experiments.tracking.run import Tracker, end_shared_run, git_commit, shared_run
from experiments.tracking.store import known_run, opened_store, patient, store_folder
from experiments.training import devices
from experiments.tuning.job import TuningJob, make_job
from experiments.tuning.report import TuneResult, report
from experiments.tuning.retrain import promote, retrain
from experiments.tuning.storage import open_storage, shown, storage_answers, storage_url, study_lock
from experiments.tuning.study import PARENT, Study, open_study
from experiments.tuning.trial import TrialWorker, sync_runs
from tasks.base import first_line
from tasks.runs import StoreUnreachableError

EXPERIMENT = "tune"
POLL_SECONDS = 1.0


def tune(config: TuneConfig) -> TuneResult | None:
    """Work on a study; None when another worker finishes it and writes the report.

    Raises UserError before any study or run is made if the configuration cannot work, TrainingError after that.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("tune runs in one process; start the same command several times instead of torchrun")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, samplers
    with kept_in_memory():
        return _tune(make_job(config))


def _tune(job: TuningJob) -> TuneResult | None:
    config = job.config
    opened_store()
    url = storage_url(config.storage, job.config.study, store_folder())
    storage = open_storage(url)
    try:
        with storage_answers(url), patient(), interrupts.held():
            study, tracker = _join(job, url, storage)
            return _see_through(study, tracker)
    except StoreUnreachableError as error:
        raise TrainingError(str(error)) from error
    finally:
        storage.engine.dispose()


def _join(job: TuningJob, url: URL, storage: RDBStorage) -> tuple[Study, Tracker]:
    """The study and its run, resumed or made."""
    with study_lock(url, job.config.study):
        study = open_study(job, url, storage)
        parent = study.study.user_attrs.get(PARENT)
        if parent is not None:
            _check_parent(parent)
            tracker = shared_run(EXPERIMENT, parent)
        else:
            tracker = shared_run(EXPERIMENT)
            try:
                _start(study, tracker)
            except BaseException as error:
                end_shared_run(tracker.run_id, "FAILED", {"error": f"{type(error).__name__}: {error}"})
                raise
            study.study.set_user_attr(PARENT, tracker.run_id)
    finished = study.counts().finished
    done = f", {finished} finished already" if finished else ""
    print(
        f"study {job.config.study} in {shown(url)}: {job.config.trials} trials{done}; parent run {tracker.run_id}",
        flush=True,
    )
    return study, tracker


def _check_parent(run_id: str) -> None:
    run = known_run(run_id)
    if run is None:
        raise ConfigError(
            f"the run of the study, {run_id}, is not in this tracking store; give every worker the same "
            "MLFLOW_TRACKING_URI, or begin another study"
        )
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"the run of the study, {run_id}, is deleted; restore it, or begin another study")


def _start(study: Study, tracker: Tracker) -> None:
    job = study.job
    tags = {
        "study": job.config.study,
        "model": job.config.model,
        "dataset": job.data.name,
        "data_sha256": job.data.sha256,
        "split_sha256": job.data.split_sha256,
        "git_commit": git_commit(),
        **devices.describe(job.base.device),
    }
    name = f"tune {job.config.model} on {job.data.name}"
    note = f"**{name}** is running: one nested run a trial. The same command resumes or joins it."
    params = {**job.config.model_dump(), "storage": shown(study.url)}  # never with a password
    tracker.start(name, note, params, tags)


def _see_through(study: Study, tracker: Tracker) -> TuneResult | None:
    """Trials, then the end; every failure is recorded on the study's run, if no other worker is at it."""
    worker = TrialWorker(study, tracker.run_id)
    try:
        with interrupts.allowed():
            worker.work()
            return _finish(study, tracker, worker.tracking_seconds)
    except KeyboardInterrupt as stopped:
        stopped.add_note("to resume: the same command")
        _leave(study, tracker, "KILLED", {})
        raise
    except Exception as error:
        _leave(study, tracker, "FAILED", {"error": f"{type(error).__name__}: {error}"})
        if isinstance(error, (UserError, StoreUnreachableError)):  # the study had started
            raise TrainingError(str(error)) from error
        raise


def _leave(study: Study, tracker: Tracker, status: str, tags: dict[str, str]) -> None:
    """End the study's run unless another worker is at it. What hinders that does not replace why this one ended."""
    try:
        if not study.counts().running:
            end_shared_run(tracker.run_id, status, tags)
    except (UserError, StorageInternalError) as error:
        print(f"warning: run {tracker.run_id} stays RUNNING: {first_line(error)}", file=sys.stderr)


def _finish(study: Study, tracker: Tracker, tracking: float) -> TuneResult | None:
    """Wait for the trials of other workers, retrain the best settings and report, if no other worker does so."""
    with study_lock(study.url, f"{study.job.config.study}-end", wait=False) as mine:
        if not mine:
            print(f"another worker finishes the study; see run {tracker.run_id}")
            return None
        _wait_for_others(study)
        sync_runs(study, tracker.run_id)
        best = study.best()
        if best is None:
            raise TrainingError("no trial was completed; give it more time, or another search")
        trainings = retrain(study.job, best, tracker.run_id)
        decision = promote(study.job, trainings)
        result = report(study, tracker, best, trainings, decision, tracking)
        tracker.flush()
        end_shared_run(tracker.run_id, "FINISHED")
        return result


def _wait_for_others(study: Study) -> None:
    """Return when no trial is running: each is finished, or its worker has been silent for too long."""
    study.fail_dead_trials()
    running = study.counts().running
    if running:
        print(f"waiting for {running} trial{'s' if running > 1 else ''} of other workers", flush=True)
    while study.counts().running:
        time.sleep(POLL_SECONDS)
        optuna.storages.fail_stale_trials(study.study)
