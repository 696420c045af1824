"""Several workers on one study, and workers killed at any moment: the study gets exactly the trials asked for."""

import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from experiments import tune
from experiments.config import TuneConfig
from experiments.tuning import database
from experiments.tuning import report as tune_report
from experiments.tuning import run as tune_run
from experiments.tuning import trial as tune_trial
from experiments.tuning.job import make_job
from experiments.tuning.open_storage import open_storage
from experiments.tuning.storage import CLAIM, JournalStudyStorage
from experiments.tuning.study import EPOCH, LOSS, open_study
from tests.support.fake_trials import fake_try_out, start_worker

NAME = "cnn-lenet5-digits"
JOURNAL, SQLITE = "auto", "sqlite:///studies.db"


def arguments(trials: int, storage: str = JOURNAL) -> list[str]:
    return ["--epochs", "4", "--train_size", "200", "--threads", "1", "--seeds", "0", "--trials", str(trials),
            "--storage", storage]  # fmt: skip


def trials_of(store: Path, storage: str = JOURNAL) -> list[FrozenTrial]:
    where: optuna.storages.BaseStorage
    if storage == JOURNAL:
        backend = optuna.storages.journal.JournalFileBackend(str(store / "studies" / f"{NAME}.journal"))
        where = optuna.storages.JournalStorage(backend)
    else:
        where = optuna.storages.RDBStorage(storage)
    return optuna.load_study(study_name=NAME, storage=where).trials


def runs() -> list[Run]:
    client = MlflowClient()
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def assert_exact(store: Path, asked: int, cut_off: int, storage: str = JOURNAL) -> list[FrozenTrial]:
    """The study has the trials asked for and those that were cut off, and MLflow the same."""
    trials = trials_of(store, storage)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == asked
    assert states[TrialState.FAIL] == cut_off and len(trials) == asked + cut_off
    (parent,) = (run for run in runs() if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED" and parent.data.tags["trials_finished"] == str(asked)
    words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    nested = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    assert len({run.data.tags["trial"] for run in nested}) == len(nested)
    for run in nested:
        trial = trials[int(run.data.tags["trial"])]
        assert run.data.tags["trial_state"] == words[trial.state]
        assert run.info.status == ("FAILED" if trial.state == TrialState.FAIL else "FINISHED")
    ended = {run.data.tags["trial"] for run in nested if run.info.status == "FINISHED"}
    assert ended == {str(trial.number) for trial in trials if trial.state != TrialState.FAIL}
    return trials


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process trials that train nothing, too, and heartbeats that are soon missed."""
    monkeypatch.setattr(tune_trial, "try_out", fake_try_out)
    monkeypatch.setattr(tune_report, "_draw", lambda *_: [])
    monkeypatch.setattr(database, "HEARTBEAT", 1)
    monkeypatch.setattr(database, "SILENCE", 2)


@pytest.mark.parametrize("storage", [JOURNAL, pytest.param(SQLITE, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("where", "dies_in"),
    [
        ("in an epoch", (3, 2)),
        pytest.param("taking a trial", (3, 0), marks=pytest.mark.full),
        pytest.param("after telling", (3, 0), marks=pytest.mark.full),
    ],
)
def test_a_killed_study_goes_on_to_exactly_the_trials_asked_for(
    where: str, dies_in: tuple[int, int], storage: str, store: Path
) -> None:
    worker = start_worker(arguments(5, storage), dies_in=dies_in, where=where)
    worker.join(timeout=120)
    assert worker.exitcode == -signal.SIGKILL
    before = trials_of(store, storage)
    assert len(before) == 3 and len({run.info.run_id for run in runs() if run.info.status == "RUNNING"}) > 0
    result = tune.main(arguments(5, storage))
    assert result is not None
    told = where == "after telling"
    trials = assert_exact(store, 5, 0 if told else 1, storage)
    if not told:  # the same settings are tried again
        (retried,) = (trial for trial in trials if trial.system_attrs.get("retry_history") == [2])
        assert retried.state != TrialState.FAIL and retried.params == trials[2].params
        assert where == "taking a trial" or retried.params == before[2].params


@pytest.mark.full
def test_a_trial_that_kills_its_worker_again_and_again_is_given_up(store: Path) -> None:
    for _ in range(3):
        worker = start_worker(arguments(2), dies_in=(1, 1))
        worker.join(timeout=120)
        assert worker.exitcode == -signal.SIGKILL
    assert tune.main(arguments(2)) is not None
    trials = assert_exact(store, 2, 3)
    assert trials[0].params == trials[1].params == trials[2].params != trials[3].params


@pytest.mark.parametrize("storage", [JOURNAL, pytest.param(SQLITE, marks=pytest.mark.full)])
def test_two_workers_share_a_study_and_one_of_them_is_killed(storage: str, store: Path) -> None:
    killed = start_worker(arguments(9, storage), dies_in=(1, 1), seconds=0.2, together=2)
    other = start_worker(arguments(9, storage), seconds=0.2, together=2)
    killed.join(timeout=120)
    other.join(timeout=120)
    assert (killed.exitcode, other.exitcode) == (-signal.SIGKILL, 0)
    trials = assert_exact(store, 9, 1, storage)
    workers = Counter(trial.user_attrs[CLAIM][1] for trial in trials)
    assert len(workers) == 2 and min(workers.values()) == 1


@pytest.mark.full
def test_three_workers_begin_at_once_and_one_finishes(store: Path) -> None:
    workers = [start_worker(arguments(8), seconds=0.2, together=3) for _ in range(3)]
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    trials = assert_exact(store, 8, 0)
    assert len({trial.user_attrs[CLAIM][1] for trial in trials}) == 3
    assert len({trial.params["learning_rate"] for trial in trials}) == 8
    logs = [path.read_text() for path in store.glob("worker-*.log")]
    assert sum("report: " in log for log in logs) == 1


def test_a_worker_waits_for_the_trials_of_others(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make_job(TuneConfig(epochs=4, train_size=200, threads=1, seeds=0))
    tune.main(arguments(1))
    storage = open_storage(JOURNAL, NAME, store)
    study = open_study(job, storage)
    taken = study.take(2)
    assert isinstance(taken, optuna.Trial)

    def meanwhile(_: float) -> None:
        taken.set_user_attr(LOSS, 0.5)
        taken.set_user_attr(EPOCH, 1)
        study.study.tell(taken, 0.5)

    monkeypatch.setattr(tune_run.time, "sleep", meanwhile)
    result = tune.main(arguments(2))
    storage.close()
    assert "waiting: every trial that is left is in the hands of another worker" in capsys.readouterr().out
    assert result is not None and result.counts.finished == 2


def test_a_lock_is_held_by_one_and_free_for_others_names(tmp_path: Path) -> None:
    one, other = (JournalStudyStorage(tmp_path / "x.journal") for _ in range(2))
    with one.lock("a"), other.lock("a", wait=False) as again, other.lock("b", wait=False) as different:
        assert not again and different
    with other.lock("a", wait=False) as later:
        assert later
    one.close()
    other.close()
    assert not list(tmp_path.glob("x.locks/worker-*"))
