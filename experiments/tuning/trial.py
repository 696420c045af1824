"""Trials: short trainings with drawn settings, each mirrored as a nested MLflow run."""

import time
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from experiments.config import TrainingError
from experiments.tracking.run import Tracker, end_shared_run, tracked_run
from experiments.training.loop import DivergedError
from experiments.training.many import try_out
from experiments.training.state import Metrics
from experiments.tuning.space import suggest
from experiments.tuning.study import EPOCH, FINISHED, LOSS, RUN, Study, make_sampler
from tasks.runs import nested_runs, open_store

TRIAL, STATE = "trial", "trial_state"
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
# One accident may pass; this many trials in a row that fail have a reason that the next one would meet, too.
MAX_FAILURES = 5


class TrialWorker:
    """Runs trials of a study in this process.

    Attributes:
        tracking_seconds: spent on writing to MLflow.
    """

    def __init__(self, study: Study, parent: str) -> None:
        self.tracking_seconds = 0.0
        self._study, self._parent = study, parent
        self._number, self._failures, self._error, self._end = -1, 0, "", float("inf")

    def work(self) -> None:
        """Run trials until the study has those asked for, or the time is up.

        Raises TrainingError if several in a row fail, or whatever ends a trial besides: what an error in it was.
        """
        config = self._study.job.config
        self._end = time.monotonic() + (config.timeout or float("inf"))
        enough = optuna.study.MaxTrialsCallback(config.trials, FINISHED)
        while self._study.counts().finished < config.trials:
            if time.monotonic() >= self._end:
                print(f"the time is up ({config.timeout} s)", flush=True)
                return
            try:
                self._study.study.optimize(self._run, catch=(Exception,), callbacks=[self._report, enough])
            except (ValueError, UpdateFinishedTrialError):
                # The study takes nothing of a trial that is another worker's by now; this worker takes the next one.
                if not self._study.trials()[self._number].state.is_finished():
                    raise
                print(f"warning: trial {self._number} was taken for dead and given to another worker", flush=True)

    def _run(self, trial: optuna.Trial) -> float:
        """Run one trial; returns the value of its best epoch. Raises TrialPruned, or what the training died of."""
        self._number = trial.number
        try:
            return self._train(trial)
        except KeyboardInterrupt:  # not the trial's fault: it is queued again
            retry = self._study.storage.get_heartbeat_stale_trial_callback()
            assert retry is not None
            retry(self._study.study, self._study.study.trials[trial.number])
            raise
        except Exception as error:
            self._error = " ".join(f"{error or type(error).__name__}".split())[:300]
            raise

    def _train(self, trial: optuna.Trial) -> float:
        job = self._study.job
        trial.study.sampler = make_sampler(job.config, trial.number)  # Optuna draws when the first setting is asked for
        settings = {name: suggest(trial, name, part) for name, part in job.space.items()}
        tags = {TRIAL: str(trial.number), STATE: "running", "study": job.config.study}
        with tracked_run(job.entry_point, parent=self._parent, tags=tags, system_metrics=False) as tracker:
            try:
                trial.set_user_attr(RUN, tracker.run_id)
                best, seen, reason = _try_out(self._study, trial, job.trial_config(settings), tracker)
            except BaseException:
                tracker.describe(f"Trial {trial.number} of the study {job.config.study} failed.", {STATE: "failed"})
                raise
            metrics = {}
            if best:
                metrics["objective"] = seen[best - 1][job.metric]
                trial.set_user_attr(LOSS, seen[best - 1]["val_loss"])
                trial.set_user_attr(EPOCH, best)
            state = STATES[TrialState.PRUNED if reason else TrialState.COMPLETE]
            because = f" ({reason})" if reason else ""
            tracker.describe(
                f"**Trial {trial.number}** of the study {job.config.study}: {state}{because}. Validation only: nothing "
                "was tested, kept or registered.",
                {STATE: state} | ({"reason": reason[:5000]} if reason else {}),
                metrics,
            )
        self.tracking_seconds += tracker.seconds
        if reason:
            raise optuna.TrialPruned(reason)
        return metrics["objective"]

    def _report(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """One line on a trial; the last one when the time is up. Raises TrainingError if too many have failed."""
        if time.monotonic() >= self._end:
            study.stop()
        if trial.state == TrialState.FAIL:
            print(f"trial {trial.number} FAILED: {self._error}", flush=True)
            self._failures += 1
            if self._failures == MAX_FAILURES:
                raise TrainingError(f"{self._failures} trials in a row failed; the last: {self._error}")
            return
        self._failures = 0
        job, counts, best = self._study.job, self._study.counts(), self._study.best()
        epochs = len(trial.intermediate_values)
        metric = job.metric.replace("val_", "validation ").replace("_", " ")
        value = f", {metric} {max(trial.intermediate_values.values()):.4f}" if epochs else ""
        result = f"pruned after epoch {epochs}" if trial.state == TrialState.PRUNED else f"{epochs} epochs"
        lead = f"; best {best.value:.4f} (trial {best.number})" if best else ""
        number = f"{counts.finished:{len(str(job.config.trials))}}/{job.config.trials}"
        print(f"{number}  trial {trial.number}: {result}{value}{lead}", flush=True)


def _try_out(study: Study, trial: optuna.Trial, config: Any, tracker: Tracker) -> tuple[int, list[Metrics], str]:
    """Train; returns the best epoch (0 if there is none), the metrics of every epoch, and why it was ended early."""
    metric = study.job.metric
    seen: list[Metrics] = []
    reason = ""

    def watch(epoch: int, metrics: Metrics) -> bool:
        nonlocal reason
        seen.append(metrics)
        trial.report(metrics[metric], epoch)
        if epoch < config.epochs and trial.should_prune():
            reason = f"no better than others after epoch {epoch}"
        return bool(reason)

    name = f"trial {trial.number}: {study.job.config.model} on {study.job.data.name}"
    try:
        best, _ = try_out(study.job.family, config, tracker, name, watch)
    except DivergedError as error:  # no accident: these settings do not work, and the sampler has to know it
        best = 1 + max(range(len(seen)), key=lambda epoch: seen[epoch][metric], default=-1)
        reason = str(error)
    return best, seen, reason


def sync_runs(study: Study, parent: str) -> None:
    """Bring nested runs, whose workers may be gone, to the state that the study has of their trials."""
    trials = study.trials()
    for run in nested_runs(open_store(), parent):
        number = run.data.tags.get(TRIAL, "")
        state = STATES.get(trials[int(number)].state) if number.isdigit() and int(number) < len(trials) else None
        if state is None or (run.data.tags.get(STATE) == state and run.info.status != "RUNNING"):
            continue
        failed = state == STATES[TrialState.FAIL]
        tags = {STATE: state}
        if failed:
            tags["error"] = "the worker died; the trial was queued again, unless that was so too often"
        end_shared_run(run.info.run_id, "FAILED" if failed else "FINISHED", tags)
