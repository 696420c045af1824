"""A question to a model and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass
class Asked:
    """A question to a model and what came of it.

    Attributes:
        id: tells it from all others of the session.
        reference: the registered version, as name/version; `model` is what people call it.
        result: the output row; of an answer that was stopped, `{"partial": text}`.
        tokens: what the model wrote or read, where it counts them.
        rating: 1 for thumbs up, -1 for thumbs down.
        run_id: where MLflow has it (the id of its trace), once it was logged.
        log_state: whether it is on its way there; `log_error` says why it did not get there.
    """

    id: str
    at: datetime
    task: str
    reference: str
    model: str
    row: dict[str, Any]
    parameters: dict[str, Any]
    result: dict[str, Any]
    seconds: float
    tokens: int | None
    stopped: bool
    rating: int | None = None
    comment: str = ""
    run_id: str | None = None
    log_state: Literal["", "waiting", "logged", "failed"] = ""
    log_error: str = ""
