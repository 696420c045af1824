"""Studies in a database: PostgreSQL or MySQL for the workers of several machines, SQLite for those of one."""

import hashlib
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from experiments.config import ConfigError
from experiments.tuning.locks import file_lock
from experiments.tuning.storage import StudyStorage

DATABASES = ("postgresql", "mysql", "sqlite")
# A worker says so often that it lives, and is taken for dead after so many seconds of silence.
HEARTBEAT, SILENCE = 10, 60
PATIENCE = 10  # seconds for a server to answer
TIMED_DRIVERS = ("psycopg2", "psycopg", "pymysql", "mysqldb")
# Optuna and MLflow keep note of their versions in tables of the same name: one would spoil the other's database.
MLFLOW_TABLES = ("experiments", "registered_models")


class DatabaseStudyStorage(StudyStorage):
    """A database by its URL."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._gone: list[int] = []
        self._url = _parse(text)
        self.shown = self._url.render_as_string(hide_password=True)
        timed = self._url.get_driver_name() in TIMED_DRIVERS
        options = {"connect_timeout": PATIENCE} if timed else {}
        try:
            self._engine = sqlalchemy.create_engine(self._url, poolclass=NullPool, connect_args=options)
            tables = sqlalchemy.inspect(self._engine).get_table_names()
            if all(name in tables for name in MLFLOW_TABLES):
                raise ConfigError(f"storage is {self.shown!r}, which is a database of MLflow; valid: one of its own")
            # Several workers that make the tables of a new database at once would fail.
            with self.lock("open"), warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.backend = RDBStorage(
                    self._url.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": options, "pool_pre_ping": True},
                    heartbeat_interval=HEARTBEAT,
                    grace_period=SILENCE,
                    heartbeat_stale_trial_callback=self._on_silence,
                )
        except ImportError as error:
            raise ConfigError(
                f"storage is {self.shown!r}, and the Python package for it is missing: {error}"
            ) from error
        except OSError as error:  # of the locks of an SQLite file
            raise ConfigError(f"storage is {self.shown!r}, whose locks cannot be written: {error}") from error
        except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
            raise ConfigError(f"storage is {self.shown!r}, which does not answer: {_reason(error)}") from error

    @contextmanager
    def lock(self, name: str, wait: bool = True) -> Iterator[bool]:
        if self._url.get_backend_name() == "sqlite":
            with self._file_lock(name, wait) as held:
                yield held
            return
        take, give = {
            "postgresql": ("pg_advisory_lock" if wait else "pg_try_advisory_lock", "pg_advisory_unlock"),
            "mysql": ("GET_LOCK", "RELEASE_LOCK"),
        }[self._url.get_backend_name()]
        digest = hashlib.sha256(f"project-dl {name}".encode())
        if take == "GET_LOCK":
            key, more = digest.hexdigest()[:60], f", {-1 if wait else 0}"
        else:
            key, more = int.from_bytes(digest.digest()[:8], "big", signed=True), ""
        # The database releases the lock with the connection.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            got = connection.execute(sqlalchemy.text(f"SELECT {take}(:key{more})"), {"key": key}).scalar()
            held = wait or bool(got)
            try:
                yield held
            finally:
                if held:
                    connection.execute(sqlalchemy.text(f"SELECT {give}(:key)"), {"key": key})

    @contextmanager
    def _file_lock(self, name: str, wait: bool) -> Iterator[bool]:
        folder = Path(f"{self._url.database}.locks")
        folder.mkdir(exist_ok=True)
        with file_lock(folder / name, wait) as held:
            yield held

    def claim(self, trial: optuna.Trial) -> None:
        assert isinstance(self.backend, RDBStorage)
        self.backend.record_heartbeat(trial._trial_id)  # before the claim: claimed trials without one never get stale
        super().claim(trial)

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial._trial_id, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, trial_id: int, ended: threading.Event) -> None:
        assert isinstance(self.backend, RDBStorage)
        while not ended.wait(HEARTBEAT):
            try:
                self.backend.record_heartbeat(trial_id)
            except (SQLAlchemyError, StorageInternalError) as error:  # it may be back at the next beat
                print(f"warning: {self.shown} does not answer: {_reason(error)}", file=sys.stderr)

    def give_up_gone(self, study: optuna.Study) -> list[int]:
        self._gone.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        return list(self._gone)

    def _on_silence(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._gone.append(trial.number)
        self.retry(study, trial)

    def close(self) -> None:
        self._engine.dispose()
        assert isinstance(self.backend, RDBStorage)
        self.backend.engine.dispose()


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "storage is a URL that cannot be read; valid: such as postgresql://user@host/studies"
        ) from error
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() not in DATABASES:
        raise ConfigError(f"storage is {shown!r}; valid: databases of {', '.join(DATABASES)}")
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ConfigError(f"storage is {shown!r}, which names no file; valid: such as sqlite:///studies.db")
        folder = Path(url.database).absolute().parent
        try:
            there = folder.is_dir()
        except OSError as error:  # a name that is too long, say
            raise ConfigError(f"storage is {shown!r}, and its folder cannot be read: {error.strerror}") from error
        if not there:
            raise ConfigError(f"storage is {shown!r}, and there is no folder {folder}")
    return url


def _reason(error: BaseException) -> str:
    """The first line of what a database says, without the statement."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]
