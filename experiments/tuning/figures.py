"""Figures of a study, as Optuna draws them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib import rc_context
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna.visualization.matplotlib import (
    plot_optimization_history,
    plot_parallel_coordinate,
    plot_param_importances,
    plot_slice,
)

from experiments.reports.figures import DPI
from experiments.tuning.study import FINISHED

# Below this, importance says more about chance than about parameters.
FEWEST_FOR_IMPORTANCE, ENOUGH_COMPLETE = 6, 30


def draw(folder: Path, trials: Sequence[FrozenTrial], name: str, metric: str) -> list[tuple[str, Path]]:
    """The figures as files, with their captions; a pruned trial has the value of its best epoch."""
    values = [max(trial.intermediate_values.values()) if _is_seen(trial) else None for trial in trials]
    study = _as_complete(trials, values)
    names = list(study.best_trial.params)
    with_importance, over = _for_importance(trials)
    makers: dict[str, Callable[[], Any]] = {
        "Optimization history": lambda: plot_optimization_history(study, target_name=metric),
        "Slices: values by each parameter alone": lambda: plot_slice(study, names, target_name=metric),
        "Parallel coordinates: one line a trial": lambda: plot_parallel_coordinate(study, names, target_name=metric),
    }
    if with_importance is not None:
        makers[f"Parameter importance: {over}"] = lambda: plot_param_importances(with_importance, _evaluator())
    folder.mkdir(parents=True)
    plt.switch_backend("agg")
    files = []
    for caption, make in makers.items():
        path = folder / f"{caption.split(':')[0].lower().replace(' ', '_')}.png"
        with rc_context():  # Optuna sets a style of its own
            axes = np.atleast_1d(make())[0]
            axes.set_title("")
            axes.figure.suptitle(name)
            axes.figure.set_figwidth(max(axes.figure.get_figwidth(), 1.5 * len(names)))
            axes.figure.savefig(path, dpi=DPI, bbox_inches="tight")
            plt.close(axes.figure)
        files.append((caption, path))
    return files


def parameter_importance(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """How much of the variance of the values each parameter explains, the most first; {} if that is not known."""
    study, _ = _for_importance(trials)
    return get_param_importances(study, evaluator=_evaluator()) if study is not None else {}


def _evaluator() -> FanovaImportanceEvaluator:
    return FanovaImportanceEvaluator(seed=0)


def _is_seen(trial: FrozenTrial) -> bool:
    return trial.state in FINISHED and bool(trial.intermediate_values)


def _for_importance(trials: Sequence[FrozenTrial]) -> tuple[optuna.Study | None, str]:
    """The trials whose values tell how important parameters are, and which they are; None if they are too few.

    With few complete trials the values of all trials after the last epoch that they all reached are taken.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(complete) >= ENOUGH_COMPLETE:
        chosen, values, over = complete, [trial.value for trial in complete], f"{len(complete)} complete trials"
    else:
        chosen = list(filter(_is_seen, trials))
        epoch = min((max(trial.intermediate_values) for trial in chosen), default=0)
        values, over = (
            [one.intermediate_values[epoch] for one in chosen],
            f"{len(chosen)} trials, values after epoch {epoch}",
        )
    if len(chosen) < FEWEST_FOR_IMPORTANCE or len(set(values)) == 1:
        return None, over
    return _as_complete(chosen, values), over


def _as_complete(trials: Sequence[FrozenTrial], values: Sequence[float | None]) -> optuna.Study:
    """A study in which each of these trials is complete and has its value; those without one have failed."""
    study = optuna.create_study(direction="maximize")
    for trial, value in zip(trials, values, strict=True):
        if value is None:  # keeps the numbers of the others
            study.add_trial(create_trial(state=TrialState.FAIL))
        else:
            study.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=value))
    return study
