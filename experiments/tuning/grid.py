"""A grid of trainings that several workers share: each is a queued trial of an Optuna study, taken by one of them.

The trials are queued rather than drawn by Optuna's GridSampler, which knows no order and may give one point to two
workers. Which trainings are finished is what MLflow says; the study only says who works on what.
"""

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.engine import URL

from experiments.tuning.storage import fail_dead_trials, open_storage, shown, storage_answers, storage_url, study_lock

CELL = "cell"
POLL_SECONDS = 1.0


class CellQueue:
    """The queue of one comparison, in a database that its workers share.

    Args:
        parent: id of the comparison's run, after which the study is named.

    Attributes:
        place: what the database is called in messages and runs, never with a password.
    """

    def __init__(self, url: URL, storage: RDBStorage, parent: str) -> None:
        self._url, self._storage, self._name = url, storage, f"compare-{parent}"
        self.place = shown(url)
        self._study = optuna.create_study(storage=storage, study_name=self._name, load_if_exists=True)

    def ownership(self) -> AbstractContextManager[bool]:
        """Hold, if no other worker does, the right to write the report; yields whether it is held."""
        return study_lock(self._url, self._name, wait=False)

    def offer(self, cells: Iterable[str]) -> None:
        """Queue cells that are not queued or being trained; whoever has died no longer trains his."""
        with study_lock(self._url, f"{self._name}-queue"):
            fail_dead_trials(self._study, self._storage)
            there = {trial.user_attrs[CELL] for trial in self._in_state(TrialState.WAITING, TrialState.RUNNING)}
            for cell in cells:
                if cell not in there:
                    self._study.enqueue_trial({}, user_attrs={CELL: cell})

    def work(self, train: Callable[[str], bool]) -> None:
        """Take cells from the queue and train them until none is left; `train` returns whether that went well."""
        while (trial := self._take()) is not None:
            state = TrialState.FAIL
            try:
                with self._alive(trial):
                    state = TrialState.COMPLETE if train(trial.user_attrs[CELL]) else TrialState.FAIL
            except KeyboardInterrupt:  # not the cell's fault: another worker may take it
                self._study.enqueue_trial({}, user_attrs=trial.user_attrs)
                raise
            finally:
                # A worker that was taken for dead has lost its cell to another one, which reports its result.
                values = 0.0 if state == TrialState.COMPLETE else None
                self._study.tell(trial, values, state=state, skip_if_finished=True)

    def others_are_done(self) -> bool:
        """Wait until no worker trains a cell; False as soon as one is free again because its worker died."""
        said = False
        while running := self._in_state(TrialState.RUNNING):
            optuna.storages.fail_stale_trials(self._study)
            if self._in_state(TrialState.WAITING):
                return False
            if not said:
                print(
                    f"waiting for other workers: {', '.join(trial.user_attrs[CELL] for trial in running)}", flush=True
                )
                said = True
            time.sleep(POLL_SECONDS)
        return not self._in_state(TrialState.WAITING)

    def _take(self) -> optuna.Trial | None:
        with study_lock(self._url, f"{self._name}-queue"):  # SQLite would let two workers take one trial
            optuna.storages.fail_stale_trials(self._study)
            if not self._in_state(TrialState.WAITING):
                return None
            trial = self._study.ask()
            self._storage.record_heartbeat(trial._trial_id)
        return trial

    @contextmanager
    def _alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Give signs of life, as Optuna does for trials that it runs itself."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._storage.get_heartbeat_interval()):
                with contextlib.suppress(StorageInternalError):  # the database may be back for the next one
                    self._storage.record_heartbeat(trial._trial_id)

        thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _in_state(self, *states: TrialState) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False, states=states) if CELL in trial.user_attrs]


@contextmanager
def shared_grid(storage: str, digest: str, folder: Path) -> Iterator[tuple[URL, RDBStorage]]:
    """The database for the queues of all comparisons of one grid; `storage` and `folder` are as of `tune`.

    Raises ConfigError for one that cannot be used, TrainingError for one that stops answering.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage")  # CellQueue gives signs of life itself
    url = storage_url(storage, f"compare-{digest[:16]}", folder.absolute())  # absolute: workers compare it
    opened = open_storage(url)
    try:
        with storage_answers(url):
            yield url, opened
    finally:
        opened.engine.dispose()
