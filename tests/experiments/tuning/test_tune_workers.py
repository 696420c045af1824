"""Several workers on one study, and workers killed at any moment: it gets the trials asked for, and one report."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from experiments import tune
from experiments.config import ConfigError
from experiments.tuning import run as tune_run
from experiments.tuning import storage as tune_storage
from experiments.tuning.storage import storage_url, study_lock
from experiments.tuning.study import EPOCH, FINISHED, LOSS
from tests.support.fake_trials import CONTEXT, FAKE, GRACE, STUDY, let_heartbeats_age, load_study, start_worker
from tests.support.postgresql import PostgreSQL, postgresql
from tests.support.runs import all_runs

pytestmark = pytest.mark.full

SQLITE, POSTGRESQL = "auto", "postgresql"
BOTH = [SQLITE, POSTGRESQL]


def arguments(trials: int, storage: str = SQLITE) -> list[str]:
    return [*FAKE, "--trials", str(trials), "--storage", storage]


@pytest.fixture(autouse=True)
def _soon_missed(fake: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process trials that train nothing, too, and heartbeats that are soon missed."""
    monkeypatch.setattr(tune_storage, "HEARTBEAT", 1)
    monkeypatch.setattr(tune_storage, "GRACE", GRACE)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> str:
    """What to give as `--storage`: the default, or a database of the test's own."""
    if request.param == SQLITE:
        return SQLITE
    server: PostgreSQL = request.getfixturevalue("server")
    return server.create(f"test_{abs(hash(request.node.name))}")


def assert_complete(asked: int, cut_off: int, storage: str = SQLITE, workers: int = 1) -> list[FrozenTrial]:
    """The study has the trials asked for, one more for each further worker at most, and MLflow has the same."""
    trials = load_study(storage).trials
    states = Counter(trial.state for trial in trials)
    finished = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
    assert asked <= finished < asked + workers
    assert states[TrialState.FAIL] == cut_off and not states[TrialState.RUNNING]
    (parent,) = (run for run in all_runs() if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED" and parent.data.tags["trials_finished"] == str(finished)
    words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    nested = [run for run in all_runs() if "mlflow.parentRunId" in run.data.tags]
    assert len({run.data.tags["trial"] for run in nested}) == len(nested)
    for run in nested:
        trial = trials[int(run.data.tags["trial"])]
        assert run.data.tags["trial_state"] == words[trial.state]
        assert run.info.status == ("FAILED" if trial.state == TrialState.FAIL else "FINISHED")
    ended = {run.data.tags["trial"] for run in nested if run.info.status == "FINISHED"}
    assert len(ended) == finished
    return trials


@pytest.mark.parametrize("storage", BOTH, indirect=True)
@pytest.mark.parametrize(
    ("where", "dies_in"), [("in an epoch", (3, 2)), ("drawing settings", (3, 0)), ("before telling", (3, 0))]
)
def test_a_killed_study_resumes_to_exactly_the_trials_asked_for(
    where: str, dies_in: tuple[int, int], storage: str, store: Path
) -> None:
    worker = start_worker(arguments(5, storage), dies_in=dies_in, where=where)
    worker.join(timeout=120)
    assert worker.exitcode == -signal.SIGKILL
    before = load_study(storage).trials
    assert [trial.state for trial in before[2:]] == [TrialState.RUNNING]
    let_heartbeats_age(storage)
    result = tune.main(arguments(5, storage))
    assert result is not None and result.counts.finished == 5
    trials = assert_complete(5, 1, storage)
    (queued,) = (trial for trial in trials if trial.system_attrs.get("retry_history") == [2])
    if where == "drawing settings":  # noticed only at the end: it had given no sign of life
        assert queued.state == TrialState.WAITING
    else:
        assert queued.state in FINISHED and queued.params == before[2].params


def test_a_trial_that_kills_its_worker_again_and_again_is_given_up(store: Path) -> None:
    for _ in range(3):
        worker = start_worker(arguments(1), dies_in=(1, 1))
        worker.join(timeout=120)
        assert worker.exitcode == -signal.SIGKILL
        let_heartbeats_age()
    assert tune.main(arguments(1)) is not None
    trials = assert_complete(1, 3)
    assert trials[0].params == trials[1].params == trials[2].params != trials[3].params


@pytest.mark.parametrize("storage", BOTH, indirect=True)
def test_workers_share_a_study_and_one_of_them_is_killed(storage: str, store: Path) -> None:
    # In epoch 1: a trial may be pruned after it and never reach another.
    together = CONTEXT.Barrier(3)
    killed = start_worker(arguments(9, storage), dies_in=(1, 1), together=together)
    others = [start_worker(arguments(9, storage), together=together) for _ in range(2)]
    for worker in (killed, *others):
        worker.join(timeout=180)
    logs = {path.name: path.read_text() for path in store.glob("worker-*.log")}
    assert killed.exitcode == -signal.SIGKILL and [worker.exitcode for worker in others] == [0, 0], logs
    trials = assert_complete(9, 1, storage, workers=3)
    finished = [trial for trial in trials if trial.state != TrialState.FAIL and not trial.system_attrs]
    assert len({trial.params["learning_rate"] for trial in finished}) == len(finished)  # none drawn twice
    assert sum("  trial " in log for log in logs.values()) == 2
    assert sum("report: " in log for log in logs.values()) == 1


def test_a_study_on_postgresql_gets_more_trials_after_the_end(server: PostgreSQL, store: Path) -> None:
    storage = server.create("again")
    for asked in (2, 3):
        assert tune.main(arguments(asked, storage)) is not None
        assert_complete(asked, 0, storage)


def test_a_database_that_is_not_there_is_one_error_and_no_run(server: PostgreSQL, store: Path) -> None:
    with pytest.raises(ConfigError, match=r"which does not answer: .*database \"nowhere\" does not exist"):
        tune.main(arguments(1, server.url("nowhere")))
    for login in ("tester:secret@/studies?", "tester@/studies?password=secret&"):
        with pytest.raises(ConfigError, match=r"tester.*@.*which does not answer") as caught:
            tune.main(arguments(1, f"postgresql://{login}host={server.folder / 'gone'}"))
        assert "secret" not in str(caught.value)
    assert all_runs() == []


def test_the_end_waits_for_the_trials_of_others(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.main(arguments(1))
    study = load_study()
    theirs = study.ask()

    def meanwhile(_: float) -> None:
        theirs.set_user_attr(LOSS, 0.5)
        theirs.set_user_attr(EPOCH, 1)
        study.tell(theirs, 0.995)

    monkeypatch.setattr(tune_run.time, "sleep", meanwhile)
    result = tune.main(arguments(1))
    assert "waiting for 1 trial of other workers" in capsys.readouterr().out
    assert result is not None and result.counts.finished == 2 and result.best.number == theirs.number


def test_one_worker_finishes_a_study_and_others_leave(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "studies").mkdir()
    with study_lock(storage_url("auto", STUDY, store), f"{STUDY}-end"):
        assert tune.main(arguments(2)) is None
    assert "another worker finishes the study; see run" in capsys.readouterr().out
    assert load_study().user_attrs["parent_run"] in {run.info.run_id for run in all_runs()}


def test_a_journal_of_an_earlier_version_is_taken_over_once(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = tune.main(arguments(2))
    journal, database = store / f"studies/{STUDY}.journal", store / f"studies/{STUDY}.db"
    earlier = JournalStorage(JournalFileBackend(str(journal)))
    optuna.copy_study(from_study_name=STUDY, from_storage=f"sqlite:///{database}", to_storage=earlier)
    cut_off = optuna.load_study(study_name=STUDY, storage=earlier).ask()
    cut_off.set_user_attr("claim", [cut_off.number, "its worker"])
    database.unlink()
    kept, line = journal.read_bytes(), f"took over {journal} into {database}"
    result = tune.main(arguments(4))
    assert line in capsys.readouterr().out and journal.read_bytes() == kept
    assert first is not None and result is not None and result.run_id == first.run_id
    trials = assert_complete(4, 1)
    assert trials[cut_off.number].state == TrialState.FAIL
    assert trials[3].system_attrs["retry_history"] == [cut_off.number] and trials[3].state in FINISHED
    tune.main(arguments(4))
    assert line not in capsys.readouterr().out
