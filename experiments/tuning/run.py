"""Working on a study until it has its trials: take, train, tell; the worker that leaves last trains the best anew."""

import dataclasses
import os
import time
from contextlib import suppress

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from experiments.config import ConfigError, TrainingError, TuneConfig, UserError, interrupts
from experiments.tracking.run import Tracker, end_shared_run, git_commit, shared_run, store_folder
from experiments.tracking.store import known_run, opened_store
from experiments.training import devices
from experiments.tuning.job import Job, make_job
from experiments.tuning.open_storage import open_storage
from experiments.tuning.report import TuneResult, report
from experiments.tuning.retrain import promote, retrain
from experiments.tuning.storage import StudyStorage
from experiments.tuning.study import PARENT, Study, Turn, count, open_study
from experiments.tuning.trial import Outcome, TakenError, run_trial, settle_runs

EXPERIMENT = "tune"
POLL_SECONDS = 1.0
# One accident may pass; so many trials in a row that fail have a reason that the next one would meet, too.
MOST_FAILURES = 5


def tune(config: TuneConfig) -> TuneResult | None:
    """Work on a study; None when other workers are still at it, of which the last writes the report.

    Raises UserError before any study or run is made if the configuration cannot work, TrainingError after that.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("tune runs in one process; start the same command several times instead of torchrun")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    job = make_job(config)
    opened_store()
    storage = open_storage(config.storage, job.config.study, store_folder())
    try:
        with interrupts.held():
            study, tracker = _join(job, storage)
            return _see_through(study, tracker)
    except StorageInternalError as error:
        raise TrainingError(f"the storage {storage.shown} no longer answers; the same command goes on") from error
    finally:
        storage.close()


def _join(job: Job, storage: StudyStorage) -> tuple[Study, Tracker]:
    """The study, and its run: gone on with, or made. Made are both or none."""
    with storage.lock(job.config.study):
        study = open_study(job, storage)
        if study.parent is not None:
            _check_parent(study)
            tracker = shared_run(EXPERIMENT, study.parent)
        else:
            tracker = None
            try:
                tracker = shared_run(EXPERIMENT)
                _start(study, tracker)
                study.study.set_user_attr(PARENT, tracker.run_id)
            except BaseException as error:
                optuna.delete_study(study_name=job.config.study, storage=storage.backend)
                if tracker is not None:
                    end_shared_run(tracker.run_id, "FAILED", {"error": f"{type(error).__name__}: {error}"})
                raise
    counts = count(study.trials())
    done = f", {counts.finished} finished already" if counts.finished else ""
    print(f"study {job.config.study} in {storage.shown}: {job.config.trials} trials{done}; parent run {tracker.run_id}",
          flush=True)  # fmt: skip
    return study, tracker


def _check_parent(study: Study) -> None:
    run = known_run(study.parent or "")
    if run is None:
        raise ConfigError(
            f"the run of the study, {study.parent}, is not in this tracking store; give every worker the same "
            "MLFLOW_TRACKING_URI, or begin another study"
        )
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"the run of the study, {study.parent}, is deleted; restore it, or begin another study")


def _start(study: Study, tracker: Tracker) -> None:
    job = study.job
    tags = {
        "study": job.config.study,
        "model": job.config.model,
        "dataset": job.config.dataset,
        "data_sha256": job.data.sha256,
        "split_sha256": job.data.split_sha256,
        "git_commit": git_commit(),
        **devices.describe(job.base.device),
    }
    name = f"tune {job.config.model} on {job.config.dataset}"
    note = f"**{name}** is running: one nested run a trial. Cut off? The same command goes on with it, or joins it."
    params = {**dataclasses.asdict(job.config), "storage": study.storage.shown}  # its password is nobody's business
    tracker.start(name, note, params, tags)


def _see_through(study: Study, tracker: Tracker) -> TuneResult | None:
    """Trials, then the end; whatever goes wrong is said on the study's run, if no other worker is at it."""
    try:
        with interrupts.allowed():
            seconds = _work(study, tracker.run_id)
            return _finish(study, tracker, seconds)
    except KeyboardInterrupt as stopped:
        _leave(study, tracker, "KILLED", {})
        stopped.add_note("to resume: the same command")
        raise
    except StorageInternalError:
        raise
    except Exception as error:
        _leave(study, tracker, "FAILED", {"error": f"{type(error).__name__}: {error}"})
        if isinstance(error, UserError):  # the study had started: no longer only a matter of what was typed
            raise TrainingError(str(error)) from error
        raise


def _leave(study: Study, tracker: Tracker, status: str, tags: dict[str, str]) -> None:
    if not count(study.trials()).running:
        end_shared_run(tracker.run_id, status, tags)


def _work(study: Study, parent: str) -> float:
    """Run trials until the study has those asked for, or the time is up; returns the seconds spent on tracking them."""
    config = study.job.config
    begun, failures, tracking, waiting = time.monotonic(), 0, 0.0, False
    while not config.timeout or time.monotonic() - begun < config.timeout:
        turn = study.take(config.trials)
        if turn is Turn.DONE:
            return tracking
        if isinstance(turn, Turn):
            if not waiting:
                print(f"waiting: {turn.value}", flush=True)
            waiting = True
            time.sleep(POLL_SECONDS)
            continue
        waiting = False
        try:
            outcome = run_trial(study, turn, parent)
        except TakenError as error:
            print(f"warning: {error}", flush=True)
        except KeyboardInterrupt:
            with study.storage.lock(config.study):
                study.storage.give_back(study.study, study.trials()[turn.number])
            raise
        except StorageInternalError:
            raise
        except Exception as error:  # whatever a trial dies of (memory, a disk, a bug), others are tried
            with suppress(ValueError, UpdateFinishedTrialError):
                study.study.tell(turn.number, state=TrialState.FAIL)
            failures += 1
            reason = " ".join(f"{error or type(error).__name__}".split())[:300]
            print(f"trial {turn.number} FAILED: {reason}", flush=True)
            if failures == MOST_FAILURES:
                raise TrainingError(f"{failures} trials in a row failed; the last: {reason}") from error
        else:
            failures = 0
            tracking += outcome.tracking_seconds
            _say(study, outcome)
    print(f"the time is up ({config.timeout} s)", flush=True)
    return tracking


def _say(study: Study, outcome: Outcome) -> None:
    """One line on a trial."""
    counts, best = count(study.trials()), study.best()
    metric = study.job.metric.replace("val_", "validation ").replace("_", " ")
    width = len(str(study.job.config.trials))
    value = f"{metric} {outcome.value:.4f}" if outcome.value == outcome.value else ""
    told = f"pruned after epoch {outcome.epochs}" if outcome.state == "pruned" else f"{outcome.epochs} epochs"
    lead = f"; best {best.value:.4f} (trial {best.number})" if best else ""
    print(
        f"{counts.finished:{width}}/{study.job.config.trials}  trial {outcome.number}: {told}, {value}{lead}",
        flush=True,
    )


def _finish(study: Study, tracker: Tracker, tracking: float) -> TuneResult | None:
    """Train the best anew and report, if no other worker does so or has a trial."""
    name = study.job.config.study
    with study.storage.lock(f"{name}-end", wait=False) as mine:
        if not mine:
            print(f"another worker finishes the study; see run {tracker.run_id}")
            return None
        with study.storage.lock(name):
            study.storage.give_up_cut_off(study.study)
            running = count(study.trials()).running
        if running:
            trials = "1 trial is" if running == 1 else f"{running} trials are"
            print(f"{trials} with other workers, of which the last finishes the study; see run {tracker.run_id}")
            return None
        settle_runs(study, tracker.run_id)
        best = study.best()
        if best is None:
            raise TrainingError("no trial was completed; give it more time, or another search")
        trainings = retrain(study.job, best, tracker.run_id)
        decision = promote(study.job, trainings)
        result = report(study, tracker, best, trainings, decision, tracking)
        end_shared_run(tracker.run_id, "FINISHED")
        return result
