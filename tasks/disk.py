"""Files written whole, and a full disk in whichever of its disguises."""

import contextlib
import errno
import re
from pathlib import Path
from uuid import uuid4

FULL = (errno.ENOSPC, errno.EDQUOT)
SQLITE_FULL = "database or disk is full"
PART = ".part"  # files that are not whole yet


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader finds all of it or what was there before, also with several writers.

    Missing folders are made. Raises OSError; nothing half written is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two threads of one process may write at once, so a process number would not tell them apart. A temporary file
    # of `tempfile` could be read by its owner only.
    aside = path.with_name(f".{uuid4().hex}{PART}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    """Whether a file is one of `write_whole` that was cut off, by its name."""
    return path.suffix == PART and re.fullmatch(r"\.[0-9a-f]{32}", path.stem) is not None


def full_disk(error: BaseException | None) -> str:
    """What to say if an error, or one that it came from, is of a disk without space; empty if none is."""
    while error is not None:
        if SQLITE_FULL in str(error):
            return "no space left on the disk of MLflow's database"
        # A copied folder gathers its errors as texts.
        texts = any(f"[Errno {number}]" in str(error) for number in FULL)
        if isinstance(error, OSError) and (error.errno in FULL or texts):
            return f"no space left on the disk{f' ({error.filename})' if error.filename else ''}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return ""
