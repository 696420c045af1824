"""The entry point `tune`: what a study leaves behind, how it is resumed, what it costs."""

import itertools
import json
import math
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from experiments import train_cnn, tune
from experiments.cnn.report import CNN
from experiments.config import PRUNERS, SAMPLERS, CnnConfig, cli
from experiments.tuning import trial as tune_trial
from tests.support.fake_trials import FAKE, TINY, fake_try_out, load_study, trial_runs
from tests.support.runs import all_runs, artifacts, reports, table


@pytest.mark.figures
def test_a_study_leaves_behind_its_trials_the_best_retrained_and_a_report(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tune.main([*TINY, "--trials", "3", "--seeds", "2", "--pruner", "none"])
    printed = capsys.readouterr().out
    assert result is not None and result.counts.complete == result.counts.finished == 3
    assert "3/3  trial 2: 2 epochs, validation accuracy" in printed
    assert "retrained with seed 2: validation accuracy" in printed and "epoch 1/2" not in printed

    parent = MlflowClient().get_run(result.run_id)
    assert parent.info.status == "FINISHED" and parent.info.run_name == "tune lenet5 on digits"
    assert parent.data.tags["study_state"] == "finished" and parent.data.tags["trials_finished"] == "3"
    assert "retrained with seeds 1, 2" in parent.data.tags["mlflow.note.content"]
    assert json.loads((artifacts(parent) / "config.json").read_text())["model"] == "lenet5"

    for number, run in trial_runs(result.run_id).items():
        assert run.info.status == "FINISHED" and run.data.tags["trial_state"] == "complete"
        assert run.info.experiment_id == parent.info.experiment_id
        assert len(MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")) == 2
        assert run.data.metrics["objective"] == load_study().trials[number].value
        assert float(run.data.params["learning_rate"]) == load_study().trials[number].params["learning_rate"]
        assert not [name for name in run.data.metrics if name.startswith("test_")]
        assert not (run.outputs and run.outputs.model_outputs)
        assert not (artifacts(run) / "checkpoints").exists()
    assert trial_runs(result.run_id).keys() == {0, 1, 2}

    retrained = [MlflowClient().get_run(one.run_id) for one in result.trainings]
    assert [run.data.params["seed"] for run in retrained] == ["1", "2"]
    assert all("test_accuracy" in run.data.metrics and run.data.tags["best_epoch"] for run in retrained)
    assert {run.data.tags["mlflow.parentRunId"] for run in retrained} == {result.run_id}
    best = max(result.trainings, key=lambda one: (one.val, -one.val_loss))
    versions = MlflowClient().search_model_versions("name = 'cnn-digits'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in retrained}
    assert MlflowClient().get_model_version_by_alias("cnn-digits", "champion").run_id == best.run_id

    folder = reports(result.run_id)
    page = (folder / "study.html").read_text()
    assert page.count("data:image/png;base64") == 3 and not re.search(r'(src|href)="http', page)
    names = {path.name for path in (folder.parent / "plots").iterdir()}
    assert names == {"optimization_history.png", "slices.png", "parallel_coordinates.png"}  # three tell no importance
    rows = table(folder / "trials.csv")
    assert [row["trial"] for row in rows] == ["0", "1", "2"] and {row["state"] for row in rows} == {"complete"}
    assert rows[0]["learning_rate"] == "0.004"  # the recipe's own comes first
    assert rows[1]["run_id"] == trial_runs(result.run_id)[1].info.run_id


def test_the_command_of_the_report_trains_the_best_settings(store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "4", "--search", "cutout=3"])
    assert result is not None
    words = shlex.split(result.command)
    assert words[:5] == ["mlflow", "run", ".", "-e", "cnn"]
    typed = [f"--{word}" for flag, word in itertools.pairwise(words) if flag == "-P"]
    config, given = cli.parse(CnnConfig, typed)
    expected = {**result.best.params, "model": "lenet5", "dataset": "digits", "cutout": 3, "epochs": 4}
    decided = CNN.decide(config)
    assert {name: getattr(decided, name) for name in expected} == expected
    assert decided.train_size == 200 and "seed" not in given


def test_trials_never_look_at_the_test_data(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.cnn.setup import CnnTraining

    looked: list[Any] = []
    predict = CnnTraining.predict

    def spy(self: CnnTraining, network: Any, part: Any) -> Any:
        looked.append(part is self.data.test)
        return predict(self, network, part)

    monkeypatch.setattr(CnnTraining, "predict", spy)
    tune.main([*TINY, "--trials", "1", "--seeds", "0"])
    assert looked == [False, False]  # one look at the validation data an epoch
    train_cnn.main([*TINY, "--register", "no"])
    assert looked == [False] * 4 + [True]


@pytest.mark.full
@pytest.mark.parametrize(
    ("sampler", "pruner"), [*((sampler, "asha") for sampler in SAMPLERS), *(("tpe", pruner) for pruner in PRUNERS[1:])]
)
def test_samplers_and_pruners(sampler: str, pruner: str, store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "12", "--sampler", sampler, "--pruner", pruner])
    assert result is not None and result.counts.finished == 12
    assert (result.counts.pruned > 0) == (pruner != "none")
    trials = load_study().trials
    assert len({trial.params["learning_rate"] for trial in trials}) == 12  # no draw twice
    for number, run in trial_runs(result.run_id).items():
        pruned = trials[number].state == optuna.trial.TrialState.PRUNED
        assert run.info.status == "FINISHED" and run.data.tags["trial_state"] == ("pruned" if pruned else "complete")
        assert ("no better than others after epoch" in run.data.tags.get("reason", "")) == pruned
        steps = MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
        assert len(steps) == len(trials[number].intermediate_values) and (len(steps) == 4 or pruned)
    assert "most important: learning_rate" in result.table()  # nothing else matters to stand-ins
    assert all(math.isfinite(fraction) for fraction in result.importance.values())


def test_the_same_command_finds_nothing_left_and_more_trials_continue(
    store: Path, fake: None, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tune.main([*FAKE, "--trials", "3"])
    again = tune.main([*FAKE, "--trials", "3"])
    assert first is not None and again is not None and first.run_id == again.run_id
    assert "3 finished already" in capsys.readouterr().out and len(all_runs()) == 4
    more = tune.main([*FAKE, "--trials", "5"])
    assert more is not None and more.counts.finished == 5 and len(all_runs()) == 6
    whole = tune.main([*FAKE, "--trials", "5", "--study", "whole"])
    assert whole is not None  # what is drawn does not depend on interruptions
    params = [[trial.params for trial in load_study(name=name).trials] for name in ("cnn-lenet5-digits", "whole")]
    assert params[0] == params[1]


def test_when_the_time_is_up_what_there_is_gets_reported(
    store: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(tune_trial, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    result = tune.main([*FAKE, "--trials", "50", "--timeout", "4"])
    assert result is not None and 0 < result.counts.finished < 5
    parent = MlflowClient().get_run(result.run_id)
    assert parent.data.tags["study_state"] == "stopped by its timeout" and parent.info.status == "FINISHED"


@pytest.mark.full
def test_encoder_decoders_are_tuned_too(store: Path) -> None:
    search = ["--search", "hidden_size=16|32,layers=1"]
    result = tune.main(["--kind", "seq2seq", *TINY, "--epochs", "1", "--trials", "2", "--seeds", "1", *search])
    assert result is not None and result.counts.finished == 2 and result.metric == "sequence accuracy"
    assert result.study == "seq2seq-gru-dot-reversal" and "-P cell=gru -P " in result.command
    runs = trial_runs(result.run_id)
    assert {run.data.params["layers"] for run in runs.values()} == {"1"}
    assert {int(run.data.params["hidden_size"]) for run in runs.values()} <= {16, 32}
    assert "seq2seq-reverse version 1" in result.promotion


@pytest.mark.full
def test_of_forty_trials_the_last_costs_no_more_queries_than_the_first(
    store: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    at_start: list[int] = []

    def counting(*arguments: Any) -> Any:
        at_start.append(len(asked))
        return fake_try_out(*arguments)

    def count(_: object, __: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    monkeypatch.setattr(tune_trial, "try_out", counting)
    event.listen(Engine, "before_cursor_execute", count)
    try:
        result = tune.main([*FAKE, "--epochs", "1", "--trials", "40", "--pruner", "none"])
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert result is not None and result.counts.complete == 40
    statements = [after - before for before, after in itertools.pairwise(at_start)]
    assert len(statements) == 39 and max(statements[-10:]) <= max(statements[1:11])
