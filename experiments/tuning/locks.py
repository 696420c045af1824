"""A lock between processes on one machine, or on a shared folder: a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def file_lock(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file, and yield whether it is held: with `wait` always, else only if nobody else holds it."""
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
