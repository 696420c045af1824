"""A study in its storage: made for one search or resumed; how settings are drawn, and trials ended early."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from experiments.config import ConfigError, TuneConfig
from experiments.tuning.job import TuningJob
from experiments.tuning.storage import fail_dead_trials, shown

IDENTITY, PARENT = "search", "parent_run"
# What a finished trial notes besides its value: validation loss, epoch that is kept, run.
LOSS, EPOCH, RUN = "val_loss", "epoch", "run"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Of three settings that come as far, one continues for three times the epochs (Li et al. 2018, arXiv:1603.06560 and
# 1810.05934); ASHA's first look comes after a ninth of the epochs, when a schedule has begun to show what it does.
REDUCTION, FIRST_LOOK = 3, 9


@dataclass(frozen=True)
class Counts:
    """Numbers of trials by what became of them."""

    complete: int
    pruned: int
    failed: int
    running: int

    @property
    def finished(self) -> int:
        """Those that count."""
        return self.complete + self.pruned


@dataclass(frozen=True)
class Study:
    """A study of Optuna with what it is for, and the database that it is kept in, open and by its URL."""

    job: TuningJob
    study: optuna.Study
    storage: RDBStorage
    url: URL

    def trials(self) -> list[FrozenTrial]:
        """All trials by their numbers."""
        return self.study.get_trials(deepcopy=False)

    def counts(self) -> Counts:
        """How many trials there are of each state."""
        states = [trial.state for trial in self.trials()]
        return Counts(*(states.count(state) for state in (*FINISHED, TrialState.FAIL, TrialState.RUNNING)))

    def best(self) -> FrozenTrial | None:
        """The complete trial with the highest value, of equal ones that with the lowest validation loss."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return max(complete, key=rank) if complete else None

    def fail_dead_trials(self) -> None:
        """Fail the trials of workers that have died."""
        fail_dead_trials(self.study, self.storage)


def rank(trial: FrozenTrial) -> tuple[float, float, int]:
    """By what complete trials are ordered: value, then validation loss, then who came first."""
    return trial.value or 0.0, -trial.user_attrs[LOSS], -trial.number


def open_study(job: TuningJob, url: URL, storage: RDBStorage) -> Study:
    """Open the study of a job, or make it. To be called under its lock.

    Raises ConfigError if the study of that name is another program's, or was made for another search.
    """
    name = job.config.study
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        pruner=make_pruner(job.config.pruner, job.base.epochs),
    )
    mine, theirs = job.identity(), study.user_attrs.get(IDENTITY)
    if theirs is None and study.get_trials(deepcopy=False):
        raise ConfigError(f"study is {name!r}, and that one in {shown(url)} was not made by tune; give another name")
    if theirs is None:
        study.set_user_attr(IDENTITY, mine)
        if job.recipe:
            study.enqueue_trial(dict(job.recipe), user_attrs={"recipe": True})
    elif differences := _differences(mine, theirs):
        raise ConfigError(
            f"study is {name!r}, and that one in {shown(url)} was made for another search: "
            f"{'; '.join(differences)}; give another name, or the same search"
        )
    opened = Study(job, study, storage, url)
    opened.fail_dead_trials()
    return opened


def _differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """In which fields two searches differ; a field that is newer than the study has its default, as if it were not."""
    return [f"{name} is {mine.get(name)!r} and was {was!r}" for name, was in theirs.items() if mine.get(name) != was]


def make_sampler(config: TuneConfig, number: int) -> BaseSampler:
    """The sampler of one trial, by its number: no two workers draw alike, and an interruption changes nothing."""
    seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
    if config.sampler == "random":
        return RandomSampler(seed=seed)
    if config.sampler == "gp":
        return GPSampler(seed=seed, deterministic_objective=False)
    # The liar keeps workers from trying the same place at the same time.
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def make_pruner(name: str, epochs: int) -> BasePruner:
    """A pruner for trials of at most this many epochs."""
    first = max(1, epochs // FIRST_LOOK)
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=REDUCTION)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=REDUCTION)
    return MedianPruner(n_startup_trials=5, n_warmup_steps=first) if name == "median" else NopPruner()
