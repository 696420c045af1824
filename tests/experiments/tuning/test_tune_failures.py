"""Trials and storages that fail in the middle of a study, and what ends or interrupts it."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from experiments import tune
from experiments.config import RunUnavailableError, TrainingError
from experiments.training.loop import DivergedError
from experiments.tuning import run as tune_run
from experiments.tuning import trial as tune_trial
from experiments.tuning.study import FINISHED
from tests.support.fake_trials import FAKE, fake_try_out, load_study, trial_runs
from tests.support.runs import all_runs

pytestmark = pytest.mark.full


@pytest.mark.parametrize("recipe", [False, True])
def test_a_diverged_trial_counts_as_pruned(recipe: bool, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(family: Any, config: Any, *rest: Any) -> Any:
        if (config.learning_rate == 0.004) == recipe:  # which is the recipe's, and comes first
            raise DivergedError("the loss is nan in epoch 1, batch 3")
        return fake_try_out(family, config, *rest)

    monkeypatch.setattr(tune_trial, "try_out", diverging)
    result = tune.main([*FAKE, "--trials", "3"])
    assert result is not None and result.counts.pruned >= 1 and result.counts.finished == 3
    run = trial_runs(result.run_id)[0 if recipe else 2]
    assert run.data.tags["trial_state"] == "pruned" and "the loss is nan" in run.data.tags["reason"]
    assert ("the recipe's settings (trial 0): diverged in the first epoch" in result.lines()) == recipe


def test_a_failed_trial_is_replaced_and_says_why(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    def failing(family: Any, config: Any, tracker: Any, name: str, watch: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("too large")
        return fake_try_out(family, config, tracker, name, watch)

    monkeypatch.setattr(tune_trial, "try_out", failing)
    result = tune.main([*FAKE, "--trials", "3"])
    assert result is not None and (result.counts.finished, result.counts.failed) == (3, 1)
    assert "trial 1 FAILED: too large" in capsys.readouterr().out
    runs = trial_runs(result.run_id)
    assert len(runs) == 4 and runs[1].info.status == "FAILED" and runs[1].data.tags["trial_state"] == "failed"
    assert "MemoryError: too large" in runs[1].data.tags["error"]


def test_a_study_in_which_all_fails_stops(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(tune_trial, "try_out", broken)
    with pytest.raises(TrainingError, match="5 trials in a row failed; the last: broken"):
        tune.main([*FAKE, "--trials", "30"])
    assert len(all_runs()) == 6 and {run.info.status for run in all_runs()} == {"FAILED"}


def test_ctrl_c_gives_the_trial_back_and_the_same_command_resumes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(family: Any, config: Any, *_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tune_trial, "try_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune.main([*FAKE, "--trials", "2"])
    assert {run.info.status for run in all_runs()} == {"KILLED"}
    monkeypatch.setattr(tune_trial, "try_out", fake_try_out)
    result = tune.main([*FAKE, "--trials", "2"])
    assert result is not None and (result.counts.finished, result.counts.failed) == (2, 1)
    trials = load_study().trials
    assert trials[1].params == trials[0].params and trials[1].system_attrs["retry_history"] == [0]


def test_a_store_that_is_away_does_not_hide_that_the_user_stopped_the_study(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(family: Any, config: Any, *_: object) -> None:
        raise KeyboardInterrupt

    def away(*_: object) -> None:
        raise RunUnavailableError("MLflow's store does not answer")

    monkeypatch.setattr(tune_trial, "try_out", interrupted)
    monkeypatch.setattr(tune_run, "end_shared_run", away)
    with pytest.raises(KeyboardInterrupt) as stopped:
        tune.main([*FAKE, "--trials", "2"])
    assert stopped.value.__notes__[-1] == "to resume: the same command"
    assert "stays RUNNING: MLflow's store does not answer" in capsys.readouterr().err


def test_a_trial_taken_for_dead_does_not_count_twice(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def robbed(family: Any, config: Any, tracker: Any, name: str, watch: Any) -> Any:
        if not load_study().get_trials(states=FINISHED) and len(load_study().trials) == 1:
            load_study().tell(0, state=optuna.trial.TrialState.FAIL)
        return fake_try_out(family, config, tracker, name, watch)

    monkeypatch.setattr(tune_trial, "try_out", robbed)
    result = tune.main([*FAKE, "--trials", "2"])
    assert result is not None and (result.counts.finished, result.counts.failed) == (2, 1)
    assert "warning: trial 0 was taken for dead" in capsys.readouterr().out
    assert trial_runs(result.run_id)[0].info.status == "FAILED"


def test_a_storage_that_fails_in_the_middle_is_one_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def corrupting(*arguments: Any) -> Any:
        (store / "studies/cnn-lenet5-digits.db").write_bytes(b"not a database at all" * 1000)
        return fake_try_out(*arguments)

    monkeypatch.setattr(tune_trial, "try_out", corrupting)
    with pytest.raises(TrainingError, match=r"^the storage .*cnn-lenet5-digits.db does not answer: .*same command"):
        tune.main([*FAKE, "--trials", "2"])


def test_a_study_that_was_cut_off_before_its_run_was_made_gets_it_later(
    store: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(tune_run, "shared_run", unreachable)
        with pytest.raises(OSError, match="no answer"):
            tune.main(FAKE)
    assert not all_runs()
    result = tune.main([*FAKE, "--trials", "2"])
    assert result is not None and result.counts.finished == 2
    assert [trial.user_attrs.get("recipe", False) for trial in load_study().trials] == [True, False]
