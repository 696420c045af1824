"""The entry point `tune`: what a study leaves behind, what ends its trials, who becomes champion, what it refuses."""

import csv
import itertools
import json
import math
import re
import shlex
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy import event
from sqlalchemy.engine import Engine

from experiments import train_cnn, tune
from experiments.cnn.training import CNN
from experiments.config import PRUNERS, SAMPLERS, CnnConfig, ConfigError, TrainingError, TuneConfig, UserError, cli
from experiments.data.sources import DataError
from experiments.training.loop import DivergedError
from experiments.tuning import database, retrain
from experiments.tuning import report as tune_report
from experiments.tuning import run as tune_run
from experiments.tuning import trial as tune_trial
from experiments.tuning.job import make_job
from experiments.tuning.retrain import Retrained, promote
from experiments.tuning.study import FINISHED
from tests.support.fake_trials import fake_try_out

TINY = ["--epochs", "2", "--train_size", "200", "--threads", "1"]
FAKE = [*TINY, "--epochs", "4", "--seeds", "0"]


def all_runs() -> list[Run]:
    client = MlflowClient()
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def trial_runs(parent: str) -> dict[int, Run]:
    """The runs of trials by number; each has one."""
    nested = [run for run in all_runs() if run.data.tags.get("mlflow.parentRunId") == parent]
    found = [run for run in nested if "trial" in run.data.tags]
    numbers = {int(run.data.tags["trial"]): run for run in found}
    assert len(numbers) == len(found)
    return numbers


def artifacts(run_id: str) -> Path:
    return Path(MlflowClient().get_run(run_id).info.artifact_uri or "")


def load_study(store: Path, name: str = "cnn-lenet5-digits") -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(store / "studies" / f"{name}.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that train nothing, and no figures of them."""
    monkeypatch.setattr(tune_trial, "try_out", fake_try_out)
    monkeypatch.setattr(tune_report, "_draw", lambda *_: [])


def test_a_study_leaves_behind_its_trials_the_best_trained_anew_and_a_report(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tune.main([*TINY, "--trials", "3", "--seeds", "2", "--pruner", "none"])
    printed = capsys.readouterr().out
    assert result is not None and result.counts.complete == result.counts.finished == 3
    assert "3/3  trial 2: 2 epochs, validation accuracy" in printed
    assert "trained anew with seed 2: validation accuracy" in printed and "epoch 1/2" not in printed

    parent = MlflowClient().get_run(result.run_id)
    assert parent.info.status == "FINISHED" and parent.info.run_name == "tune lenet5 on digits"
    assert parent.data.tags["study_state"] == "finished" and parent.data.tags["trials_finished"] == "3"
    assert "trained anew with seeds 1, 2" in parent.data.tags["mlflow.note.content"]
    assert json.loads((artifacts(result.run_id) / "config.json").read_text())["model"] == "lenet5"

    for number, run in trial_runs(result.run_id).items():
        assert run.info.status == "FINISHED" and run.data.tags["trial_state"] == "complete"
        assert run.info.experiment_id == parent.info.experiment_id
        assert len(MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")) == 2
        assert run.data.metrics["objective"] == load_study(store).trials[number].value
        assert float(run.data.params["learning_rate"]) == load_study(store).trials[number].params["learning_rate"]
        assert not [name for name in run.data.metrics if name.startswith("test_")]
        assert not (run.outputs and run.outputs.model_outputs)
        assert not (artifacts(run.info.run_id) / "checkpoints").exists()
    assert trial_runs(result.run_id).keys() == {0, 1, 2}

    anew = [MlflowClient().get_run(one.run_id) for one in result.trainings]
    assert [run.data.params["seed"] for run in anew] == ["1", "2"]
    assert all("test_accuracy" in run.data.metrics and run.data.tags["best_epoch"] for run in anew)
    assert {run.data.tags["mlflow.parentRunId"] for run in anew} == {result.run_id}
    best = max(result.trainings, key=lambda one: (one.val, -one.val_loss))
    versions = MlflowClient().search_model_versions("name = 'cnn-digits'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in anew}
    assert MlflowClient().get_model_version_by_alias("cnn-digits", "champion").run_id == best.run_id

    folder = artifacts(result.run_id)
    page = (folder / "reports/study.html").read_text()
    assert page.count("data:image/png;base64") == 3 and not re.search(r'(src|href)="http', page)
    names = {path.name for path in (folder / "plots").iterdir()}
    assert names == {"optimisation_history.png", "slices.png", "parallel_coordinates.png"}  # three tell no importance
    with (folder / "reports/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
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


@pytest.mark.parametrize(
    ("sampler", "pruner"), [*((sampler, "asha") for sampler in SAMPLERS), *(("tpe", pruner) for pruner in PRUNERS[1:])]
)
def test_samplers_and_pruners(sampler: str, pruner: str, store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "12", "--sampler", sampler, "--pruner", pruner])
    assert result is not None and result.counts.finished == 12
    assert (result.counts.pruned > 0) == (pruner != "none")
    trials = load_study(store).trials
    assert len({trial.params["learning_rate"] for trial in trials}) == 12  # no draw twice
    for number, run in trial_runs(result.run_id).items():
        pruned = trials[number].state == optuna.trial.TrialState.PRUNED
        assert run.info.status == "FINISHED" and run.data.tags["trial_state"] == ("pruned" if pruned else "complete")
        assert ("no better than others after epoch" in run.data.tags.get("reason", "")) == pruned
        steps = MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
        assert len(steps) == len(trials[number].intermediate_values) and (len(steps) == 4 or pruned)
    assert result.importance and next(iter(result.importance)) == "learning_rate"  # nothing else matters to stand-ins


def test_the_same_command_finds_nothing_left_and_more_trials_go_on(
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
    params = [[trial.params for trial in load_study(store, name).trials] for name in ("cnn-lenet5-digits", "whole")]
    assert params[0] == params[1]


def test_a_diverged_trial_counts_as_pruned(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(family: Any, config: Any, tracker: Any, name: str, watch: Any) -> Any:
        if config.learning_rate != 0.004:
            raise DivergedError("the loss is nan in epoch 1, batch 3")
        return fake_try_out(family, config, tracker, name, watch)

    monkeypatch.setattr(tune_trial, "try_out", diverging)
    result = tune.main([*FAKE, "--trials", "3"])
    assert result is not None and (result.counts.complete, result.counts.pruned) == (1, 2)
    run = trial_runs(result.run_id)[2]
    assert run.data.tags["trial_state"] == "pruned" and "the loss is nan" in run.data.tags["reason"]


def test_a_recipe_that_diverges_at_once_is_said_in_the_report(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(family: Any, config: Any, tracker: Any, name: str, watch: Any) -> Any:
        if config.learning_rate == 0.004:
            raise DivergedError("the loss is nan in epoch 1, batch 3")
        return fake_try_out(family, config, tracker, name, watch)

    monkeypatch.setattr(tune_trial, "try_out", diverging)
    result = tune.main([*FAKE, "--trials", "3"])
    assert result is not None and "the recipe's settings (trial 0): diverged in the first epoch" in result.lines()


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


def test_ctrl_c_gives_the_trial_back_and_the_same_command_goes_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    trials = load_study(store).trials
    assert trials[1].params == trials[0].params and trials[1].system_attrs["retry_history"] == [0]


def test_when_the_time_is_up_what_there_is_gets_reported(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_trial, "try_out", lambda *args: fake_try_out(*args, seconds=0.3))
    result = tune.main([*FAKE, "--trials", "50", "--timeout", "1"])
    assert result is not None and 0 < result.counts.finished < 50
    parent = MlflowClient().get_run(result.run_id)
    assert parent.data.tags["study_state"] == "stopped by its timeout" and parent.info.status == "FINISHED"


@pytest.mark.parametrize(("mean_of", "expected"), [((0.9, 0.7), "champion 1 of cnn-digits stays"),
                                                   ((0.95, 0.9), "version 3 becomes champion")])  # fmt: skip
def test_the_mean_over_seeds_decides_and_not_the_luckiest(
    mean_of: tuple[float, ...], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    job = make_job(TuneConfig(epochs=1, train_size=200, threads=1))
    tags = {"val_accuracy": "0.85", "data_sha256": job.data.sha256, "split_sha256": job.data.split_sha256}
    client.create_registered_model("cnn-digits")
    runs = [client.create_run("0").info.run_id for _ in range(3)]
    for run_id in runs:
        client.create_model_version("cnn-digits", f"runs:/{run_id}/model", run_id, tags=tags)
    client.set_registered_model_alias("cnn-digits", "champion", "1")
    # Of the two with the highest validation result that with the lower loss is the best.
    trainings = [Retrained(1, runs[1], mean_of[1], 0.0, 0.5), Retrained(2, runs[2], mean_of[0], 0.0, 0.1)]
    assert expected in promote(job, trainings)
    kept = client.get_model_version_by_alias("cnn-digits", "champion")
    assert (kept.run_id == runs[2]) == ("becomes" in expected)


def test_a_cut_off_retraining_goes_on_and_the_finished_ones_stay(
    store: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.training import run as training

    arguments = [*TINY, "--epochs", "1", "--trials", "1", "--seeds", "2"]
    honest = training.save_checkpoint

    def save(prepared: Any, tracker: Any, epoch: int) -> None:
        honest(prepared, tracker, epoch)
        if prepared.config.seed == 2:
            raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save)
        with pytest.raises(RuntimeError, match="cut off"):
            tune.main(arguments)
    assert MlflowClient().search_model_versions("name = 'cnn-digits'")[0].aliases == []  # not all seeds are there
    before = {run.info.run_id for run in all_runs()}
    result = tune.main(arguments)
    assert result is not None and {run.info.run_id for run in all_runs()} == before
    assert len(result.trainings) == 2 and "is the first and becomes champion" in result.promotion


def test_encoder_decoders_are_tuned_too(store: Path) -> None:
    result = tune.main(["--kind", "seq2seq", "--epochs", "1", "--train_size", "128", "--threads", "1", "--trials", "2",
                        "--seeds", "1", "--search", "hidden_size=16|32,layers=1"])  # fmt: skip
    assert result is not None and result.counts.finished == 2 and result.metric == "sequence accuracy"
    assert result.study == "seq2seq-gru-dot-reversal" and "-P cell=gru -P " in result.command
    runs = trial_runs(result.run_id)
    assert {run.data.params["layers"] for run in runs.values()} == {"1"}
    assert {int(run.data.params["hidden_size"]) for run in runs.values()} <= {16, 32}
    assert "seq2seq-reverse version 1" in result.promotion


def test_forty_trivial_trials_cost_little_and_the_last_as_much_as_the_first(
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
        begun = time.process_time()
        result = tune.main([*FAKE, "--epochs", "1", "--trials", "40", "--pruner", "none"])
        spent = time.process_time() - begun
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert result is not None and result.counts.complete == 40
    assert spent < 10  # of this process: another one on the machine does not count
    statements = [after - before for before, after in itertools.pairwise(at_start)]
    assert len(statements) == 39 and max(statements[-10:]) <= max(statements[1:11])


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["--trials", "0"], ConfigError, "trials is 0; valid: at least 1"),
        (["--search", "lr=0.1:1"], ConfigError, "search names 'lr'"),
        (["--search", "learning_rate=1:0.1"], ConfigError, "the smaller number first"),
        (["--search", "batch_size=300|400"], ConfigError, "search has batch_size=400; valid: at most 200"),
        (["--kind", "rnn"], ConfigError, "kind is 'rnn'; .*valid: cnn, seq2seq"),
        (["--model", "resnet21"], ConfigError, "model names 'resnet21'; did you mean 'resnet20'"),
        (["--model", "lenet5,resnet20"], ConfigError, "model names 2; valid: one of"),
        (["--dataset", "minst"], ConfigError, "dataset names 'minst'; did you mean 'mnist'"),
        (["--dataset", "mnist", "--data_dir", "here"], DataError, "here/MNIST/raw/"),
        (["--study", "../up"], ConfigError, "study is '../up'; valid: letters"),
        (["--storage", "studies"], ConfigError, "storage is 'studies'; valid: auto, a file ending in .journal"),
        (["--storage", "no/where.journal"], ConfigError, "there is no folder no"),
        (["--storage", "broken.journal"], ConfigError, "is no journal of Optuna that can be used"),
        (["--storage", "/proc/x.journal"], ConfigError, "beside /proc/x.journal nothing can be written"),
        (["--storage", f"{'x' * 300}/y.journal"], ConfigError, r"nothing can be written \(File name too long\)"),
        (["--storage", f"sqlite:///{'x' * 300}/y.db"], ConfigError, "its folder cannot be read: File name too long"),
        (["--storage", f"sqlite:///{'x' * 248}.db"], ConfigError, "whose locks cannot be written: .*too long"),
        (["--storage", "redis://here/1"], ConfigError, "valid: databases of postgresql, mysql, sqlite"),
        (["--storage", "sqlite:///no/where.db"], ConfigError, "there is no folder"),
        (["--storage", "sqlite://"], ConfigError, "which names no file"),
        (["--storage", "sqlite:///broken.db"], ConfigError, "does not answer: file is not a database"),
        (["--storage", "sqlite:///mlflow.db"], ConfigError, "which is a database of MLflow; valid: one of its own"),
        (["--storage", "postgresql+pg8000://me:secret@127.0.0.1:9/x"], ConfigError,
         r"me:\*\*\*@127.0.0.1:9/x', and the Python package for it is missing: No module named 'pg8000'"),
        (["--device", "mps"], ConfigError, "device is 'mps'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_made(
    arguments: list[str], error: type[UserError], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    (store / "broken.journal").write_text("not a journal\nat all\n")
    (store / "broken.db").write_text("not a database at all" * 1000)
    with pytest.raises(error, match=expected):
        tune.main([*TINY, *arguments])
    assert not all_runs() and not (store / "studies").exists()


def test_a_database_that_does_not_answer(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("connection refused\nIs the server running?"))

    monkeypatch.setattr(database, "RDBStorage", refuse)
    with pytest.raises(ConfigError, match=r"does not answer: connection refused$"):
        tune.main([*TINY, "--storage", "sqlite:///studies.db"])
    assert not all_runs()


def test_a_study_of_another_search_or_program_is_refused_and_left_as_it_was(store: Path, fake: None) -> None:
    tune.main([*FAKE, "--trials", "1"])
    before = (store / "studies/cnn-lenet5-digits.journal").read_bytes()
    for arguments, expected in ((["--epochs", "3"], "epochs is 3 and was 4"),
                                (["--search", "crop=1"], "crop is 1 and was None; search is"),
                                (["--seed", "5"], "seed is 5 and was 0"),
                                (["--train_size", "300"], "train_size is 300 and was 200")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"made for another search: .*{expected}"):
            tune.main([*FAKE, "--trials", "2", *arguments])
    assert (store / "studies/cnn-lenet5-digits.journal").read_bytes() == before and len(all_runs()) == 2

    backend = optuna.storages.journal.JournalFileBackend(str(store / "mine.journal"))
    optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="mine").ask()
    with pytest.raises(ConfigError, match=r"was not made by tune"):
        tune.main([*FAKE, "--study", "mine", "--storage", "mine.journal"])


def test_without_its_run_nothing_of_a_study_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(tune_run, "shared_run", unreachable)
        with pytest.raises(OSError, match="no answer"):
            tune.main(FAKE)
    with pytest.raises(KeyError):
        load_study(store)
    assert not all_runs()


def test_a_study_whose_run_is_gone_is_refused(store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "1"])
    assert result is not None
    MlflowClient().delete_run(result.run_id)
    with pytest.raises(ConfigError, match="is deleted; restore it, or begin another study"):
        tune.main([*FAKE, "--trials", "2"])
    load_study(store).set_user_attr("parent_run", "0" * 32)
    with pytest.raises(ConfigError, match="is not in this tracking store; give every worker the same"):
        tune.main([*FAKE, "--trials", "2"])


def test_a_trial_taken_for_dead_does_not_count_twice(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def robbed(family: Any, config: Any, tracker: Any, name: str, watch: Any) -> Any:
        if not load_study(store).get_trials(states=FINISHED) and len(load_study(store).trials) == 1:
            load_study(store).tell(0, state=optuna.trial.TrialState.FAIL)
        return fake_try_out(family, config, tracker, name, watch)

    monkeypatch.setattr(tune_trial, "try_out", robbed)
    result = tune.main([*FAKE, "--trials", "2"])
    assert result is not None and (result.counts.finished, result.counts.failed) == (2, 1)
    assert "trial 0 was taken for dead and given to another worker" in capsys.readouterr().out
    assert trial_runs(result.run_id)[0].info.status == "FAILED"


def test_a_finite_value_for_every_trial_in_the_table(store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "6"])
    assert result is not None and "most important: learning_rate" in result.table()
    assert all(math.isfinite(share) for share in result.importance.values())
    assert retrain.LABEL not in MlflowClient().get_run(result.run_id).data.tags
