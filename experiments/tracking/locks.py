"""Locks that processes of one machine share, as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def file_lock(path: Path | str, *, wait: bool) -> Iterator[bool]:
    """Hold a lock, released however this process ends; yields whether it is held.

    Without `wait` it yields False, at once, if another process has it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
