"""Where a study is kept: a journal file, or a database that several machines reach; and who may do what at a time.

Workers queue for one lock when they take a trial, so that a study gets exactly the trials that were asked for. A worker
that is gone leaves a trial running: a journal knows it by the worker's lock, which ended with its process, a database
by its heartbeat.
"""

import copy
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from experiments.config import ConfigError
from experiments.tuning.locks import file_lock

# A trial that was cut off is tried again so often; after that another one takes its place.
MOST_RETRIES = 2
CLAIM = "claim"


class StudyStorage(ABC):
    """A place for studies, open on this process.

    Attributes:
        shown: what it is called before people: never with a password.
        backend: the same for Optuna.
        worker: id of this process.
    """

    shown: str
    backend: BaseStorage

    def __init__(self) -> None:
        self.worker = uuid.uuid4().hex
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.retry = RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES)

    @abstractmethod
    def lock(self, name: str, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold a lock that no other process on any machine has; it is released however this process ends.

        Gives False, at once, where `wait` is false and another process has it.
        """

    @abstractmethod
    def alive(self, trial: optuna.Trial) -> AbstractContextManager[None]:
        """Show other workers that this process works on a trial."""

    @abstractmethod
    def give_up_gone(self, study: optuna.Study) -> list[int]:
        """Give back the running trials, all claimed, whose workers have ended without a word; returns their numbers."""

    def close(self) -> None:  # noqa: B027  # not every storage has something to put away
        """Put away what shows that this process is at work."""

    def claim(self, trial: optuna.Trial) -> None:
        """Note whose trial it is. To be called under the lock under which it was taken."""
        # With its number: a retried trial inherits the note of the one before it.
        trial.set_user_attr(CLAIM, [trial.number, self.worker])

    def give_up_cut_off(self, study: optuna.Study) -> list[int]:
        """Mark the running trials of workers that are gone as failed, and queue them anew; returns their numbers.

        To be called under the lock.
        """
        given_up = []
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # Nobody else holds the lock: a trial without a claim of its own was cut off while it was being taken.
            if trial.user_attrs.get(CLAIM, [None])[0] != trial.number and self.give_back(study, trial):
                given_up.append(trial.number)
        return [*given_up, *self.give_up_gone(study)]

    def give_back(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Mark a running trial as failed and queue it anew, unless it was so too often; False if it has ended."""
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return False
        self.retry(study, copy.deepcopy(trial))
        return True


class JournalStudyStorage(StudyStorage):
    """A journal file, for the workers of one machine, or of several that share its folder."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.shown = path, str(path)
        self._locks = path.with_suffix(".locks")
        self._locks.mkdir(parents=True, exist_ok=True)
        self._here = FileLock(self._locks / f"worker-{self.worker}")
        self._here.acquire()
        try:
            with self.lock("journal"):
                # Optuna's own locks outlive a killed process for half a minute.
                lock = _JournalLock(self._locks / "journal-entry")
                self.backend = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.close()
            raise ConfigError(f"storage is {self.shown!r}, which is no journal of Optuna that can be used") from error

    @contextmanager
    def lock(self, name: str, wait: bool = True) -> Iterator[bool]:
        with file_lock(self._locks / name, wait) as held:
            yield held

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:  # noqa: ARG002  # the lock of the process says it
        yield

    def give_up_gone(self, study: optuna.Study) -> list[int]:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial.number for trial in running if self._is_gone(trial) and self.give_back(study, trial)]

    def _is_gone(self, trial: FrozenTrial) -> bool:
        _, worker = trial.user_attrs[CLAIM]
        if worker == self.worker:
            return False
        lock = FileLock(self._locks / f"worker-{worker}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        return True

    def close(self) -> None:
        Path(self._here.lock_file).unlink(missing_ok=True)
        self._here.release()


class _JournalLock:
    """A file lock as Optuna's journal wants it."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()
