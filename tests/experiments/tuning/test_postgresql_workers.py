"""Four workers on one study, on PostgreSQL and on the journal file; and databases that cannot hold a study."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import tune
from experiments.config import ConfigError
from experiments.tuning.storage import CLAIM
from tests.experiments.tuning.test_tune_workers import JOURNAL, arguments, assert_exact, runs
from tests.support.fake_trials import start_worker
from tests.support.postgresql import PostgreSQL, postgresql

POSTGRESQL = "postgresql"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.mark.full
@pytest.mark.parametrize("kind", [JOURNAL, POSTGRESQL])
def test_four_workers_join_a_study_and_one_of_them_is_killed(
    kind: str, store: Path, request: pytest.FixtureRequest
) -> None:
    storage = request.getfixturevalue("server").create("four") if kind == POSTGRESQL else kind
    # In epoch 1: a trial may be pruned after it and never reach another.
    killed = start_worker(arguments(12, storage), dies_in=(1, 1), seconds=0.2, together=4)
    others = [start_worker(arguments(12, storage), seconds=0.2, together=4) for _ in range(3)]
    for worker in (killed, *others):
        worker.join(timeout=180)
    logs = {path.name: path.read_text() for path in store.glob("worker-*.log")}
    assert killed.exitcode == -signal.SIGKILL, logs
    assert [worker.exitcode for worker in others] == [0, 0, 0], logs
    trials = assert_exact(store, 12, 1, storage)
    workers = Counter(trial.user_attrs[CLAIM][1] for trial in trials)
    assert len(workers) == 4 and min(workers.values()) == 1, workers
    assert sum("report: " in log for log in logs.values()) == 1


@pytest.mark.full
def test_a_study_on_postgresql_goes_on_after_the_end(server: PostgreSQL, store: Path) -> None:
    storage = server.create("again")
    for asked in (2, 3):
        worker = start_worker(arguments(asked, storage))
        worker.join(timeout=120)
        assert worker.exitcode == 0
        assert_exact(store, asked, 0, storage)


@pytest.mark.full
def test_a_database_that_is_not_there_is_one_error_and_no_run(server: PostgreSQL, store: Path) -> None:
    with pytest.raises(ConfigError, match=r"which does not answer: .*database \"nowhere\" does not exist"):
        tune.main(arguments(1, server.url("nowhere")))
    secret = f"postgresql://tester:secret@/studies?host={server.folder / 'gone'}"
    with pytest.raises(ConfigError, match=r"tester:\*\*\*@.*which does not answer") as caught:
        tune.main(arguments(1, secret))
    assert "secret" not in str(caught.value)
    assert runs() == []
