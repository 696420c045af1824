"""Where a study is kept: an SQLite file for the workers of one machine, PostgreSQL for those of several."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from experiments.config import ConfigError, TrainingError
from experiments.tracking.locks import file_lock

DATABASES = ("sqlite", "postgresql")
# Seconds between two signs of life of a trial, and without one until it counts as dead.
HEARTBEAT, GRACE = 10, 60
# A trial whose worker died is tried again this often; after that another one takes its place.
MAX_RETRY = 2
PATIENCE = 10  # seconds for a server to answer
# Optuna and MLflow note their versions in tables of the same name: one would spoil the other's database.
MLFLOW_TABLES = {"experiments", "registered_models"}
# What earlier versions kept studies in.
JOURNAL = ".journal"


def storage_url(text: str, study: str, folder: Path) -> URL:
    """The database that `TuneConfig.storage` names; `auto` is a file of the study's own under `folder`.

    Raises ConfigError for what names no database that can hold a study.
    """
    if text == "auto":
        return URL.create("sqlite", database=str(folder / "studies" / f"{study}.db"))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        named = "storage" if "@" in text else f"storage is {text!r}, and that"  # there may be a password in it
        file = f"{Path(text).stem}.db (takes the journal over)" if text.endswith(JOURNAL) else "studies.db"
        raise ConfigError(
            f"{named} is no URL; valid: auto, or such as sqlite:///{file} or postgresql://user@host/studies"
        ) from error
    if url.get_backend_name() not in DATABASES:
        raise ConfigError(f"storage is {shown(url)!r}; valid: databases of {', '.join(DATABASES)}")
    if url.get_backend_name() == "sqlite":
        _check_folder(url)
    return url


def _check_folder(url: URL) -> None:
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"storage is {str(url)!r}, which names no file; valid: such as sqlite:///studies.db")
    folder = Path(url.database).absolute().parent
    try:
        exists = folder.is_dir()
    except OSError as error:  # a name that is too long, say
        raise ConfigError(f"storage is {shown(url)!r}, and its folder cannot be read: {error.strerror}") from error
    if not exists:
        raise ConfigError(f"storage is {shown(url)!r}, and there is no folder {folder}")


def shown(url: URL) -> str:
    """What a database is called in messages: never with a password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


def open_storage(url: URL) -> RDBStorage:
    """Open the database, made if need be. Raises ConfigError, without its password, for one that cannot be used."""
    try:
        if url.get_backend_name() == "sqlite":
            Path(url.database or "").parent.mkdir(exist_ok=True)
        with study_lock(url, "open"):  # several workers that make the tables of a new database at once would fail
            return _open(url)
    except ImportError as error:
        raise ConfigError(f"storage is {shown(url)!r}, and the Python package for it is missing: {error}") from error
    except OSError as error:  # read-only, a name that is too long, a disk without locks
        raise ConfigError(
            f"storage is {shown(url)!r}, and nothing can be written there ({error.strerror or error})"
        ) from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise ConfigError(f"storage is {shown(url)!r}, which does not answer: {reason(error)}") from error


def _open(url: URL) -> RDBStorage:
    if url.get_backend_name() == "sqlite":
        _take_over(Path(url.database or ""))
    tables = sqlalchemy.inspect(_engine(url)).get_table_names()
    if MLFLOW_TABLES.issubset(tables):
        raise ConfigError(f"storage is {shown(url)!r}, which is a database of MLflow; valid: one of its own")
    return RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": _connect_args(url), "pool_pre_ping": True},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRY),
    )


def _take_over(database: Path) -> None:
    """Copy the studies of a journal that lies beside a database not yet made; the journal stays as it is."""
    journal, copy = database.with_suffix(JOURNAL), database.with_suffix(".part")
    if database.exists() or not journal.exists():
        return
    copy.unlink(missing_ok=True)
    try:
        earlier = JournalStorage(JournalFileBackend(str(journal)))
        names = optuna.get_all_study_names(earlier)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{journal} is no journal of Optuna; valid: another storage, or none of that name") from error
    storage = RDBStorage(f"sqlite:///{copy}")
    for name in names:
        optuna.copy_study(from_study_name=name, from_storage=earlier, to_storage=storage)
        study = optuna.load_study(study_name=name, storage=storage)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):  # no worker of this version has them
            study.tell(trial.number, state=TrialState.FAIL)
            RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRY)(study, trial)
    storage.engine.dispose()
    copy.replace(database)
    print(f"took over {journal} into {database}", flush=True)


def _engine(url: URL) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args=_connect_args(url))


def _connect_args(url: URL) -> dict[str, int]:
    """How long to wait for a server, or for another process to be done with the file."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": GRACE}
    return {"connect_timeout": PATIENCE} if url.get_driver_name().startswith("psycopg") else {}


@contextmanager
def study_lock(url: URL, name: str, wait: bool = True) -> Iterator[bool]:
    """Hold a lock that all workers share, released however this process ends; yields whether it is held.

    Without `wait` it yields False, at once, if another process has it.
    """
    if url.get_backend_name() == "sqlite":
        with file_lock(f"{url.database}.{name}.lock", wait=wait) as held:
            yield held
        return
    take = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
    query = sqlalchemy.text(f"SELECT {take}(hashtextextended(:name, 0))")
    try:
        connection = _engine(url).connect().execution_options(isolation_level="AUTOCOMMIT")
        held = connection.execute(query, {"name": f"project-dl {name}"}).scalar() is not False
    except SQLAlchemyError as error:
        raise StorageInternalError("no lock") from error
    with connection:  # PostgreSQL releases the lock with it
        yield held


@contextmanager
def storage_answers(url: URL) -> Iterator[None]:
    """Within, a database that stops answering is a TrainingError of one line."""
    try:
        yield
    except Exception as error:
        cause = _storage_error(error)
        if cause is None:
            raise
        raise TrainingError(
            f"the storage {shown(url)} does not answer: {reason(cause)}; the same command resumes"
        ) from error


def _storage_error(error: BaseException | None) -> StorageInternalError | None:
    """What the storage said, if that is why there was an error: Optuna may fail over its own failure to note it."""
    while error is not None and not isinstance(error, StorageInternalError):
        error = error.__cause__ or error.__context__
    return error


def reason(error: BaseException) -> str:
    """The first line of what a database says, without the statement."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:300]


def fail_dead_trials(study: optuna.Study, storage: RDBStorage) -> None:
    """Mark trials whose workers have died as failed, and queue them again, unless that was so too often."""
    optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # Optuna never misses a trial that died before its first sign of life. With this one it will.
        storage.record_heartbeat(trial._trial_id)
