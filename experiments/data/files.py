"""Files that the user names: whether they are there and can be read, before anything is done with them."""

from pathlib import Path

from experiments.config import ConfigError


def named_file(field: str, given: str, valid: str, max_bytes: int) -> Path:
    """The file that a parameter names.

    Args: valid: what is valid, for messages.

    Raises ConfigError, in one line, if there is none, it is no plain file, or it is too large.
    """
    try:
        path = Path(given).expanduser()
        if not given.strip() or "\0" in given or not path.exists():
            raise ConfigError(f"{field} is {given!r}, and there is no such file; valid: {valid}")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no plain file"
            raise ConfigError(f"{field} is {given!r}, which is {kind}; valid: {valid}")
        size = path.stat().st_size
    except (OSError, RuntimeError) as error:  # the latter for an unknown ~user
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{field} is {given[:60]!r}, which cannot be read: {reason}; valid: {valid}") from error
    if size > max_bytes:
        raise ConfigError(f"{field}: {path.name} has {size / 1e6:,.0f} MB; valid: at most {max_bytes // 10**6} MB")
    return path
