"""One trial: a short training with drawn settings, mirrored as a nested MLflow run."""

import dataclasses
import math
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from experiments.config import TrainingError
from experiments.tracking.run import Tracker, end_shared_run, tracked_run
from experiments.training.loop import DivergedError
from experiments.training.run import try_out
from experiments.training.state import Metrics
from experiments.tuning.study import EPOCH, LOSS, RUN, Study
from tasks.runs import nested_runs, open_store

TRIAL, STATE = "trial", "trial_state"
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class TakenError(TrainingError):
    """Another worker took this one for dead, and the trial from it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: `value` is that of its best epoch; `reason` says why it did not complete."""

    number: int
    state: str
    value: float
    epochs: int
    reason: str
    tracking_seconds: float


def run_trial(study: Study, trial: optuna.Trial, parent: str) -> Outcome:
    """Train with a trial's settings, and tell the study; a pruned trial's run is FINISHED with `trial_state=pruned`.

    Raises TakenError, or whatever the training died of: the study then has not been told.
    """
    tags = {TRIAL: str(trial.number), STATE: "running", "study": study.job.config.study}
    with (
        study.storage.alive(trial),
        tracked_run(study.job.entry_point, parent=parent, tags=tags, system_metrics=False) as tracker,
    ):
        try:
            trial.set_user_attr(RUN, tracker.run_id)
            outcome = _train(study, trial, tracker)
        except BaseException:
            tracker.describe(f"Trial {trial.number} of the study {study.job.config.study} failed.", {STATE: "failed"})
            raise
        _log(study, outcome, tracker)
    return dataclasses.replace(outcome, tracking_seconds=tracker.seconds)


def _train(study: Study, trial: optuna.Trial, tracker: Tracker) -> Outcome:
    metric, config = study.job.metric, study.job.trial_config(trial.params)
    seen: list[Metrics] = []
    pruned = False

    def watch(epoch: int, metrics: Metrics) -> bool:
        nonlocal pruned
        seen.append(metrics)
        trial.report(metrics[metric], epoch)
        pruned = epoch < config.epochs and trial.should_prune()
        return pruned

    name = f"trial {trial.number}: {study.job.config.model} on {study.job.config.dataset}"
    reason, best = "", 0
    try:
        best, _ = try_out(study.job.family, config, tracker, name, watch)
        if pruned:
            reason = f"no better than others after epoch {len(seen)}"
    except DivergedError as error:  # no accident: these settings do not work, and the sampler shall know it
        pruned, reason = True, str(error)
        if seen:
            best = max(range(len(seen)), key=lambda epoch: seen[epoch][metric]) + 1
    except UpdateFinishedTrialError as error:
        raise TakenError(f"trial {trial.number} was taken for dead and given to another worker") from error
    value = seen[best - 1][metric] if best else math.nan
    if best:
        trial.set_user_attr(LOSS, seen[best - 1]["val_loss"])
        trial.set_user_attr(EPOCH, best)
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE
    try:
        study.study.tell(trial, state=state, values=None if pruned else value)
    except (ValueError, UpdateFinishedTrialError) as error:
        raise TakenError(f"trial {trial.number} was taken for dead and given to another worker") from error
    return Outcome(trial.number, STATES[state], value, len(seen), reason, 0.0)


def _log(study: Study, outcome: Outcome, tracker: Tracker) -> None:
    tags = {STATE: outcome.state}
    said = f"**Trial {outcome.number}** of the study {study.job.config.study}: {outcome.state}"
    if outcome.reason:
        tags["reason"] = outcome.reason[:5000]
        said += f" ({outcome.reason})"
    metrics = {} if math.isnan(outcome.value) else {"objective": outcome.value}
    tracker.describe(f"{said}. Validation only: nothing was tested, kept or registered.", tags, metrics)


def settle_runs(study: Study, parent: str) -> None:
    """Bring nested runs whose workers are gone to the state that the study has of their trials."""
    trials = study.trials()
    for run in nested_runs(open_store(), parent):
        number = run.data.tags.get(TRIAL, "")
        if run.info.status != "RUNNING" or not number.isdigit() or int(number) >= len(trials):
            continue
        trial = trials[int(number)]
        if trial.state in STATES:
            tags = {STATE: STATES[trial.state]}
            if trial.state == TrialState.FAIL:
                tags["error"] = "the worker ended; its trial was queued anew, unless it was so too often"
            end_shared_run(run.info.run_id, "FAILED" if trial.state == TrialState.FAIL else "FINISHED", tags)
