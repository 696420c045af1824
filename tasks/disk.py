"""A full disk, in whichever of its disguises."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
SQLITE_FULL = "database or disk is full"


def full_disk(error: BaseException | None) -> str:
    """What to say if an error, or one that it came from, is of a disk without space; empty if none is."""
    while error is not None:
        if SQLITE_FULL in str(error):
            return "no space left on the disk of MLflow's database"
        # A copied folder gathers its errors as texts.
        texts = any(f"[Errno {number}]" in str(error) for number in FULL)
        if isinstance(error, OSError) and (error.errno in FULL or texts):
            return f"no space left on the disk ({error.filename or 'of the artifacts'})"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return ""
