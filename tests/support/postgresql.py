"""A PostgreSQL server of a test's own, in a temporary folder: reachable through a Unix socket there, nowhere else."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "tester"
# Nothing of a test's database has to survive a power cut.
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"


@dataclass(frozen=True)
class PostgreSQL:
    """A running server; `folder` holds its data and its socket."""

    folder: Path

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """Make an empty database; returns its URL."""
        import psycopg  # only tests that got past `postgresql` need it

        # A database cannot be made within a transaction, hence autocommit.
        with psycopg.connect(user=USER, dbname="postgres", host=str(self.folder), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        return self.url(database)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a server, and stop it with the block. Skips the test, with its reason, where there is none to start."""
    programs = _programs()
    as_server = _as_server()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path may have 107 bytes
    try:
        if as_server:
            shutil.chown(folder, as_server[2])
        options = f"{FAST} -c listen_addresses= -c unix_socket_directories={folder}"
        data, log = str(folder / "data"), str(folder / "log")
        init = ["-D", data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        _run([*as_server, str(programs / "initdb"), *init], folder)
        _run([*as_server, str(programs / "pg_ctl"), "-D", data, "-l", log, "-o", options, "-w", "start"], folder)
        try:
            yield PostgreSQL(folder)
        finally:
            _run([*as_server, str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop"], folder)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder with initdb and pg_ctl, which Debian does not put on the path."""
    pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    found = [Path(path).resolve() for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found[-1].parent


def _as_server() -> list[str]:
    """What to put before a server's command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    spare = next((name for name in ("postgres", "nobody") if name in names), None)
    if spare is None or shutil.which("runuser") is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no other user to run it as")
    return ["runuser", "-u", spare, "--"]


def _run(command: list[str], folder: Path) -> None:
    # Into a file: a server that inherits a pipe would keep it open, and the caller waiting.
    with (folder / "output").open("w+") as output:
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=120)
        output.seek(0)
        assert done.returncode == 0, f"{' '.join(command)}: {output.read()}"
