"""A study in its storage: made for one search or gone on with, giving out trials until it has those asked for."""

import warnings
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from experiments.config import ConfigError, TuneConfig
from experiments.tuning.job import Job
from experiments.tuning.storage import StudyStorage

IDENTITY, PARENT = "search", "parent_run"
# What a finished trial notes besides its value: validation loss, epoch that is kept, run.
LOSS, EPOCH, RUN = "val_loss", "epoch", "run"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Of three settings that come as far, one goes on for three times as many epochs (Li et al. 2018, arXiv:1603.06560 and
# 1810.05934); ASHA's first look comes after a ninth of the epochs, when a schedule has begun to show what it does.
REDUCTION, FIRST_LOOK = 3, 9


class Turn(Enum):
    """What a worker does when there is no trial for it."""

    WAIT = "every trial that is left is in the hands of another worker"
    DONE = "the study has its trials"


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


class Study:
    """A study, open on this process."""

    def __init__(self, job: Job, storage: StudyStorage, study: optuna.Study) -> None:
        self.job, self.storage, self.study = job, storage, study
        self.space = {name: part.distribution() for name, part in job.space.items()}

    @property
    def parent(self) -> str | None:
        """The MLflow run of the study; None before one was made."""
        return self.study.user_attrs.get(PARENT)

    def take(self, asked: int) -> optuna.Trial | Turn:
        """The next trial, its settings drawn; or why there is none. Trials of workers that are gone are queued anew."""
        with self.storage.lock(self.job.config.study):
            self.storage.give_up_cut_off(self.study)
            trials = self.trials()
            counts = count(trials)
            if counts.finished >= asked:
                return Turn.DONE
            if counts.finished + counts.running >= asked:
                return Turn.WAIT
            # A worker that joins or comes back must not draw the same again: the number of trials counts, too.
            self.study.sampler = make_sampler(self.job.config, len(trials))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a heartbeat wants another loop, that a sampler is experimental
                trial = self.study.ask(self.space)
            self.storage.claim(trial)
            return trial

    def trials(self) -> list[FrozenTrial]:
        """All trials by their numbers."""
        return self.study.get_trials(deepcopy=False)

    def best(self) -> FrozenTrial | None:
        """The complete trial with the highest value, of equal ones that with the lowest validation loss."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        return max(complete, key=rank) if complete else None


def rank(trial: FrozenTrial) -> tuple[float, float, int]:
    """By what complete trials are ordered: value, then validation loss, then who came first."""
    return trial.value or 0.0, -trial.user_attrs[LOSS], -trial.number


def count(trials: list[FrozenTrial]) -> Counts:
    """How many trials there are of each state."""
    states = [trial.state for trial in trials]
    return Counts(*(states.count(state) for state in (*FINISHED, TrialState.FAIL, TrialState.RUNNING)))


def open_study(job: Job, storage: StudyStorage) -> Study:
    """Go on with the study of a job, or make it. To be called under its lock.

    Raises ConfigError if the study of that name is another program's, or was made for another search.
    """
    name = job.config.study
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name not in optuna.get_all_study_names(storage.backend):
            optuna.create_study(storage=storage.backend, study_name=name, direction="maximize")
        pruner = make_pruner(job.config.pruner, job.base.epochs)
        study = optuna.load_study(study_name=name, storage=storage.backend, pruner=pruner)
    mine, theirs = job.identity(), study.user_attrs.get(IDENTITY)
    if theirs is None and study.get_trials(deepcopy=False):
        raise ConfigError(f"study is {name!r}, and that one in {storage.shown} was not made by tune; give another name")
    if theirs is None:  # new, or cut off right here
        if job.recipe:
            study.enqueue_trial(dict(job.recipe), user_attrs={"recipe": True})
        study.set_user_attr(IDENTITY, mine)
    elif theirs != mine:
        raise ConfigError(
            f"study is {name!r}, and that one in {storage.shown} was made for another search: "
            f"{'; '.join(_differences(mine, theirs))}; give another name, or the same search"
        )
    return Study(job, storage, study)


def _differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """In which fields two searches differ, in words."""
    return [
        f"{name} is {mine.get(name)!r} and was {theirs.get(name)!r}"
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name)
    ]


def make_sampler(config: TuneConfig, draw: int) -> BaseSampler:
    """A sampler for one draw, by its number."""
    seed = int(np.random.SeedSequence([config.seed, draw]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if config.sampler == "random":
            return RandomSampler(seed=seed)
        if config.sampler == "gp":
            return GPSampler(seed=seed, deterministic_objective=False)
        # The liar keeps workers from trying the same place at the same time.
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def make_pruner(name: str, epochs: int) -> BasePruner:
    """A pruner for trials of at most so many epochs."""
    first = max(1, epochs // FIRST_LOOK)
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=first, reduction_factor=REDUCTION)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=REDUCTION)
    return MedianPruner(n_startup_trials=5, n_warmup_steps=first) if name == "median" else NopPruner()
