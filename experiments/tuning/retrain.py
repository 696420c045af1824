"""The best settings of a study, retrained over several seeds, and whether one of these becomes champion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from experiments.config import TrainingError
from experiments.tracking.store import opened_store
from experiments.training.many import train_one_of_many
from experiments.training.progress import one_of_many
from experiments.tuning.job import TuningJob
from tasks import registry
from tasks.runs import metric_values, nested_runs, open_store

LABEL, SEED_LABEL = "retrained_trial", "retrained_seed"
FINISHED = "FINISHED"


@dataclass(frozen=True)
class Retrained:
    """One of the trainings: the deciding metric, without its prefix, on validation and test data; validation loss."""

    seed: int
    run_id: str
    val: float
    test: float
    val_loss: float


def retrain(job: TuningJob, trial: FrozenTrial, parent: str) -> list[Retrained]:
    """Train a trial's settings with seeds that no trial had, resuming what was interrupted.

    Raises TrainingError if a training fails; those that are finished stay, and the same command resumes.
    """
    runs = nested_runs(opened_store(), parent)
    earlier = [run for run in runs if run.data.tags.get(LABEL) == str(trial.number)]
    found = []
    for seed in range(job.config.seed + 1, job.config.seed + 1 + job.config.seeds):
        mine = [run for run in earlier if run.data.tags.get(SEED_LABEL) == str(seed)]
        done = [run for run in mine if run.info.status == FINISHED]
        run_id = done[0].info.run_id if done else _train(job, trial, seed, parent, [run.info.run_id for run in mine])
        found.append(_read(job, seed, opened_store().get_run(run_id)))
        reached = f"validation {job.metric_name} {found[-1].val:.4f}, test {found[-1].test:.4f}"
        print(f"retrained with seed {seed}: {reached}", flush=True)
    return found


def _train(job: TuningJob, trial: FrozenTrial, seed: int, parent: str, cut_off: Sequence[str]) -> str:
    config = job.base.replace(**trial.params, seed=seed, register=job.config.register)
    labels = {LABEL: str(trial.number), SEED_LABEL: str(seed)}
    with one_of_many():
        return train_one_of_many(job.family, config, parent, cut_off, f"seed {seed}", labels, promote=False).run_id


def _read(job: TuningJob, seed: int, run: Any) -> Retrained:
    client, run_id = open_store(), run.info.run_id
    kept = int(run.data.tags["best_epoch"]) - 1
    val, loss = (metric_values(client, run_id, name)[kept] for name in (job.metric, "val_loss"))
    return Retrained(seed, run_id, val, run.data.metrics[job.metric.replace("val_", "test_")], loss)


def promote(job: TuningJob, trainings: Sequence[Retrained]) -> str:
    """Make the best of the trainings champion if their mean beats the present one; returns what was decided, and why.

    One lucky seed does not decide; the champion's own value is that of one training.
    """
    if not job.config.register:
        return "not registered"
    if not trainings:
        return "nothing was retrained (seeds=0), so nothing is registered"
    versions = {one.run_id: registry.version_of_run(job.registered_name, one.run_id) for one in trainings}
    if any(version is None for version in versions.values()):
        raise TrainingError(f"not all of the trainings are versions of {job.registered_name}")
    best = max(trainings, key=lambda one: (one.val, -one.val_loss, -one.seed))
    mean = sum(one.val for one in trainings) / len(trainings)
    present = registry.champion(job.registered_name)
    # The same command again keeps the one that it made champion before, and finishes what it may have left undone.
    run_id = present.run_id if present is not None and present.run_id in versions else best.run_id
    version: Any = versions[run_id]
    decided = registry.promote_if_better(job.registered_name, version.version, job.metric, mean)
    return f"by the mean of {len(trainings)} seed{'s' if len(trainings) > 1 else ''}: {decided}"
