"""MLflow's tracking store: open it safely, also when several processes start at once."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from tasks.deadline import within
from tasks.disk import full_disk

# A model whose pickle was slipped into the store must not run code when it is loaded. Ours have none.
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
DATABASES = ("postgresql", "mysql", "mssql")
DATABASE_S = 5.0  # for a database server to take a connection
# Of what SQLAlchemy and drivers say: names with passwords, statements, links.
UNSAID = re.compile(r"[^\s'\"/]+@|\s+LINE \d+:(?s:.)*|\[SQL:(?s:.)*|\(Background on this error at: \S+\)")
SECRET = re.compile(r"(?i)([?&](?:\w*password|passwd|pwd|\w*token|\w*secret)=)[^&]*")
_reached: set[str] = set()  # database servers that have answered this process
# MLflow retries for minutes while a server is down; a training may wait, a user at a page should not.
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


class StoreUnreachableError(Exception):
    """The tracking store does not answer. The text says which, and why."""


def give_up_soon() -> None:
    """Have this process say within seconds that a tracking server is down, unless its environment says otherwise."""
    for name, value in IMPATIENCE.items():
        os.environ.setdefault(name, value)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn the many ways in which a store can fail its readers into StoreUnreachableError."""
    from sqlalchemy.exc import SQLAlchemyError  # only who reads a store needs it

    try:
        yield
    except (MlflowException, OSError, ImportError, SQLAlchemyError) as error:
        raise _unreachable(error) from error


def _unreachable(error: BaseException) -> StoreUnreachableError:
    uri = mlflow.get_tracking_uri()
    # Without names and passwords, also where the error repeats the address, or the part that it took for the host.
    said = UNSAID.sub("", str(error).replace(uri, address(uri)))
    reason = full_disk(error) or " ".join(said.split())[:300]
    if isinstance(error, ImportError):
        reason = f"the driver for its database is not installed ({reason})"
    if "Max retries exceeded" in reason:  # what urllib3 has to say about it is long, and says no more
        reason = "nothing answers at that address"
    if "_alembic_tmp_" in said:  # a table that a migration makes and renames
        reason = "its migration was killed; move mlflow.db away if nothing is in it yet, or else put a copy of it back"
    return StoreUnreachableError(f"MLflow's store at {address(uri)} does not answer: {reason}")


def address(uri: str) -> str:
    """A store's address without a password, nor the name beside it."""
    scheme, mark, rest = uri.partition("://")
    if scheme == "sqlite":
        return uri
    # A password may have any character, an at sign and a slash among them.
    return SECRET.sub(r"\1***", f"{scheme}{mark}{rest.rpartition('@')[2]}")


def open_store() -> MlflowClient:
    """A client of the tracking store, which is created or migrated first if need be.

    Several processes that create one SQLite store at once spoil it (MLflow takes no lock), so that they queue here.
    """
    os.environ.setdefault(PICKLE_SWITCH, "false")
    for noisy in ("mlflow", "alembic"):  # migrations and monitors announce themselves on INFO
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It prints every failure with its traceback, and raises it besides.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    _use_plain_path()
    _reach_database(mlflow.get_tracking_uri())
    with store_lock():
        client = MlflowClient()  # which alone may already migrate the store
        client.search_experiments(max_results=1)
    return client


def _use_plain_path() -> None:
    """Name a store in SQLite by its plain path.

    MLflow percent-encodes it, and then makes a folder `My%20Projects` beside `My Projects`. `mlflow run` has
    done so before our programs start; as it stays empty, it is removed.
    """
    file = sqlite_file(mlflow.get_tracking_uri())
    if file is None:
        return
    try:
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder")
    except OSError as error:  # a name that is too long, say: MLflow would try for minutes
        raise _unreachable(error) from error
    plain = f"sqlite:///{file}"
    if plain != mlflow.get_tracking_uri() and sqlite_file(plain) == file:
        mlflow.set_tracking_uri(plain)
    folder = str(file.parent.absolute())
    if quote(folder) != folder:
        with suppress(OSError):  # there is none, or something in it
            Path(quote(folder)).rmdir()


def database_answers(uri: str) -> bool:
    """Whether the database of a tracking URI takes a connection within seconds; True for what is no database server."""
    try:
        _reach_database(uri)
    except StoreUnreachableError:
        return False
    return True


def _reach_database(uri: str) -> None:
    """Raise StoreUnreachableError for a database server that does not answer: MLflow tries for most of an hour."""
    if uri in _reached or not uri.startswith(DATABASES):
        return

    def connect() -> None:
        import sqlalchemy

        sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()

    try:
        within(DATABASE_S, connect)
    except Exception as error:  # what a driver raises is its own
        raise _unreachable(error) from error
    _reached.add(uri)


@contextmanager
def store_lock() -> Iterator[None]:
    """Hold the store's file lock; a store behind a server needs none."""
    database = sqlite_file(mlflow.get_tracking_uri())
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.parent / ".mlflow-store.lock"):
        yield


def sqlite_file(uri: str) -> Path | None:
    """The file of a store in SQLite; None for any other store."""
    from sqlalchemy import make_url

    # In a URL blanks and other letters may be percent-encoded.
    database = make_url(uri).database if uri.startswith("sqlite:///") else None
    return Path(database) if database else None


def made_experiment(client: MlflowClient, name: str) -> Experiment:
    """An experiment by its name, made if need be; it may be a deleted one."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.get_experiment(client.create_experiment(name))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found
