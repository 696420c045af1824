"""The tracking store's first moments: several programs at once, and stores that do not answer."""

import multiprocessing
import os
import re
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
import sqlalchemy
from mlflow import MlflowClient

from tasks.runs import StoreUnreachableError, open_store, readable_errors
from tasks.runs import store as stores
from tests.support.postgresql import USER, postgresql

PROGRAMS = 3


def open_at_once(folder: Path, ready: Barrier) -> None:
    os.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    ready.wait(60)
    sys.exit(len(open_store().search_experiments()) != 1)


def test_several_programs_may_open_a_store_that_is_not_there_yet(store: Path) -> None:
    (store / "mlflow.db").unlink()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "tasks.runs"])
    ready = context.Barrier(PROGRAMS)
    programs = [context.Process(target=open_at_once, args=(store, ready)) for _ in range(PROGRAMS)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(240)
    assert [program.exitcode for program in programs] == [0] * PROGRAMS


def test_a_store_that_is_no_database_is_a_readable_error(store: Path) -> None:
    (store / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreUnreachableError, match="does not answer: "), readable_errors():
        open_store()


def test_the_password_of_a_store_is_not_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow.set_tracking_uri("http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.raises(StoreUnreachableError) as caught, readable_errors():
        open_store()
    assert "127.0.0.1:9" in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("mysql://me:secret@127.0.0.1:9/runs", "the driver for its database is not installed .*MySQLdb"),
        ("mysql+nosuch://me:secret@127.0.0.1:9/runs", "nosuch"),
        ("postgresql://me:sec/ret@127.0.0.1:9/runs", "does not answer: "),
        ("postgresql://me:s@cret@127.0.0.1:9/runs", "does not answer: "),
        ("postgresql://me:secret@127.0.0.1:port/runs", "does not answer: "),
        ("postgres://me:secret@127.0.0.1:9/runs", "does not answer: "),
    ],
)
def test_a_database_that_cannot_be_reached_is_said_at_once(uri: str, reason: str, store: Path) -> None:
    mlflow.set_tracking_uri(uri)
    begun = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=reason) as caught, readable_errors():
        open_store()
    assert time.monotonic() - begun < 20
    assert "\n" not in str(caught.value) and not re.search("secret|sec/ret|ret@|cret@", str(caught.value))


def test_a_database_server_that_hangs_is_given_up_within_seconds(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "DATABASE_S", 0.2)
    released = threading.Event()
    engine = sqlalchemy.create_engine("sqlite://")
    monkeypatch.setattr(engine, "connect", lambda: released.wait(60) and sqlalchemy.engine.Connection(engine))
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda *_, **__: engine)
    mlflow.set_tracking_uri("postgresql://me:secret@far.example/runs")
    begun = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="no answer within 0 s") as caught:
        open_store()
    released.set()
    assert time.monotonic() - begun < 20 and "secret" not in str(caught.value)


def test_a_database_server_that_is_gone_is_said_in_a_line(store: Path) -> None:
    pytest.importorskip("psycopg")
    mlflow.set_tracking_uri("postgresql://me:secret@127.0.0.1:9/runs")
    with pytest.raises(StoreUnreachableError, match="does not answer: ") as caught:
        open_store()
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://h/runs?user=me&password=secret", "postgresql://h/runs?user=me&password=***"),
        ("postgresql://me:s?password=@h/runs?sslpassword=secret&a=1", "postgresql://h/runs?sslpassword=***&a=1"),
        ("https://me:secret@h/?access_token=secret", "https://h/?access_token=***"),
        ("sqlite:////home/me@home/mlflow.db", "sqlite:////home/me@home/mlflow.db"),
    ],
)
def test_a_password_is_left_out_wherever_an_address_has_it(uri: str, shown: str) -> None:
    assert stores.address(uri) == shown


def test_a_postgresql_that_refuses_is_said_in_a_line(store: Path) -> None:
    """By a real server: no such database, no such user, nothing may be written, no connection left."""
    psycopg = pytest.importorskip("psycopg")
    with postgresql() as server:
        with psycopg.connect(user=USER, dbname="postgres", host=str(server.folder), autocommit=True) as admin:
            admin.execute("CREATE ROLE guest LOGIN")
            admin.execute("CREATE DATABASE frozen")
            admin.execute("ALTER DATABASE frozen SET default_transaction_read_only = on")
            admin.execute("CREATE DATABASE crowded CONNECTION LIMIT 0")
        guest = server.url().replace(USER, "guest:secret")
        for uri, reason in {
            server.url("nowhere"): 'database "nowhere" does not exist$',
            server.url().replace(USER, "stranger:secret"): 'role "stranger" does not exist$',
            guest: "permission denied for schema public$",
            server.url("frozen"): "cannot execute CREATE TABLE in a read-only transaction$",
            guest.replace("/postgres?", "/crowded?"): 'too many connections for database "crowded"$',
        }.items():
            mlflow.set_tracking_uri(uri)
            with pytest.raises(StoreUnreachableError, match=reason) as caught, readable_errors():
                open_store()
            assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_the_folder_that_mlflow_makes_beside_one_with_blanks_is_removed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store / "Ein Ordner é"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes((store / "mlflow.db").read_bytes())
    monkeypatch.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{quote(str(folder))}/mlflow.db")
    MlflowClient().create_experiment("as mlflow run does")
    assert (store / quote(folder.name)).is_dir()
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    open_store()
    assert not (store / quote(folder.name)).exists()


def test_a_store_whose_migration_was_killed_says_what_to_do() -> None:
    said = "(sqlite3.OperationalError) table _alembic_tmp_experiments already exists\n[SQL: CREATE TABLE ...]"
    with pytest.raises(StoreUnreachableError, match=r"move mlflow\.db away"), readable_errors():
        raise mlflow.MlflowException(said)
