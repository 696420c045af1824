"""An answer as the tool keeps it: in a visitor's session, and in MLflow where they want that."""

from dataclasses import dataclass
from typing import Literal

from tasks.runs.answers import Answer


@dataclass
class Asked(Answer):
    """An answer of this session, or one that was read from MLflow.

    Attributes:
        id: unique within the session.
        run_id: where MLflow has it (the id of its trace), once it was logged.
        log_state: whether it is on its way there; `log_error` says why it did not get there.
    """

    run_id: str | None = None
    log_state: Literal["", "waiting", "logged", "failed"] = ""
    log_error: str = ""
