"""Which storage a study is kept in: a journal file, or a database by its URL."""

from pathlib import Path

from experiments.config import ConfigError
from experiments.tuning.storage import JournalStudyStorage, StudyStorage

SUFFIX = ".journal"


def open_storage(text: str, study: str, beside: Path) -> StudyStorage:
    """Open what `TuneConfig.storage` names.

    Args:
        beside: the folder for the journal files of `auto`.

    Raises ConfigError for what is neither a journal nor a database, or does not answer.
    """
    if "://" in text:
        from experiments.tuning.database import DatabaseStudyStorage  # SQLAlchemy takes a second

        return DatabaseStudyStorage(text)
    path = beside / "studies" / f"{study}{SUFFIX}" if text == "auto" else Path(text)
    if path.suffix != SUFFIX:
        raise ConfigError(f"storage is {text!r}; valid: auto, a file ending in {SUFFIX}, or the URL of a database")
    try:
        if text != "auto" and not path.parent.is_dir():
            raise ConfigError(f"storage is {text!r}, and there is no folder {path.parent}")
        return JournalStudyStorage(path)
    except (OSError, RuntimeError) as error:  # read-only, a name that is too long, a disk without locks
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"storage is {text!r}, and beside {path} nothing can be written ({reason}); valid: a folder where that can "
            "be done, or the URL of a database"
        ) from error
