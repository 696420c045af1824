"""Downloading data sets: one process at a time, into a folder of its own, and one clear error for whatever goes wrong.

A file appears under its name only when it is whole, so that who finds it can read it without asking for a lock.
"""

import hashlib
import http.client
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.config import UserError
from tasks.base import first_line

DOWNLOAD_TIMEOUT_SECONDS = 30


class DataError(UserError):
    """Data files are missing, damaged or cannot be fetched."""


@contextmanager
def downloading(wanted: Path, data_dir: Path) -> Iterator[Path]:
    """An empty folder beside `wanted` to download to, once no other process does; gone afterwards.

    What was missing may be there by then. Raises one DataError for whatever a download raises, also when the server
    says nothing for half a minute.
    """
    try:
        # Within the lock: else a process that failed would take away the folder of one that waits.
        with _alone(wanted.parent), _made(wanted.parent):
            aside = wanted.parent / ".downloading"
            shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
            aside.mkdir()
            previous = socket.getdefaulttimeout()
            socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
            try:
                yield aside
            finally:
                socket.setdefaulttimeout(previous)
                shutil.rmtree(aside, ignore_errors=True)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DataError(
            f"{wanted} is not there and could not be downloaded ({first_line(error)}). "
            f"Put the files under {data_dir} (data_dir=...), or use dataset=digits, which needs no download"
        ) from error


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Have a folder, which goes away again if that was in vain: of a mistyped name nothing should stay."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # what is not empty stays
            for one in missing:
                one.rmdir()
        raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    # Not in the folder, where it would stay: a lock cannot be removed safely while others may wait for it.
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    # Users by number: those of a container may have no name.
    lock = FileLock(Path(tempfile.gettempdir()) / f"project-dl-{os.getuid()}-{name}.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"waiting for another process that downloads to {folder}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
