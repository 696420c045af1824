"""MLflow's tracking store: open it safely, also when several processes start at once."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tasks.disk import full_disk

# A model whose pickle was slipped into the store must not run code when it is loaded. Ours have none.
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
# MLflow retries for minutes while a server is down; a training shall wait, people at a page shall not.
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
    except (MlflowException, OSError, SQLAlchemyError) as error:
        reason = full_disk(error) or " ".join(str(error).split())[:300]
        if "Max retries exceeded" in reason:  # what urllib3 has to say about it is long, and says no more
            reason = "nothing answers at that address"
        text = f"MLflow's store at {mlflow.get_tracking_uri()} does not answer: {reason}"
        raise StoreUnreachableError(re.sub(r"//[^/@\s]*@", "//", text)) from error  # without names and passwords


def open_store() -> MlflowClient:
    """A client of the tracking store, which is created or migrated first if need be.

    Several processes that create one SQLite store at once spoil it (MLflow takes no lock), so that they queue here.
    """
    os.environ.setdefault(PICKLE_SWITCH, "false")
    for noisy in ("mlflow", "alembic"):  # migrations and monitors announce themselves on INFO
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It prints every failure with its traceback, and raises it besides.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with store_lock():
        client = MlflowClient()  # which alone may already migrate the store
        client.search_experiments(max_results=1)
    return client


@contextmanager
def store_lock() -> Iterator[None]:
    """Hold the store's file lock; a store behind a server needs none."""
    database = _sqlite_file(mlflow.get_tracking_uri())
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.parent / ".mlflow-store.lock"):
        yield


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
