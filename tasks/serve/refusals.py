"""What a client is told when it gets no answer: a status, a code for programs, a sentence for people.

The body has the shape of OpenAI's errors at every address, so that there is one to know. Nothing of a request comes
back in it but names of fields and short values; what is said about this machine is in its log only.
"""

import logging
from typing import Any

from tasks.base import ModelFolderError, TaskInputError
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import JobCancelled, QueueFullError
from tasks.runtime.memory import DeviceFullError
from tasks.runtime.worker import ModelTooLargeError
from tasks.serve.line import LineFullError

logger = logging.getLogger(__name__)

SPOKEN = (ModelTooLargeError, DeviceFullError, StoreUnreachableError, ModelFolderError)  # errors whose text says all
TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class Refusal(Exception):  # noqa: N818
    """A request that is answered with an error."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON that the client gets."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.field, "code": self.code}}


def invalid(message: str, field: str | None = None) -> Refusal:
    """A 400: what was sent cannot be used."""
    return Refusal(400, "invalid_input", message, field)


def refusal(error: Exception) -> Refusal:
    """How a client hears of an error. What it is not told goes to the log."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, TaskInputError):
        return invalid(str(error))
    if isinstance(error, ModelNotFoundError):
        return Refusal(404, "model_not_found", str(error), "model")
    if isinstance(error, (LineFullError, QueueFullError)):
        return Refusal(429, "queue_full", str(error))
    if isinstance(error, TimeoutError):
        return Refusal(504, "timeout", "the answer took longer than this server allows; it was stopped")
    if isinstance(error, JobCancelled):
        return Refusal(503, "stopped", str(error))
    logger.error("%s", error, exc_info=None if isinstance(error, SPOKEN) else error)
    if isinstance(error, ModelTooLargeError):
        return Refusal(503, "model_too_large", str(error))
    if isinstance(error, DeviceFullError):
        return Refusal(503, "device_full", str(error))
    if isinstance(error, StoreUnreachableError):
        return Refusal(503, "registry_unreachable", "the model registry does not answer; the server's log says why")
    if isinstance(error, ModelFolderError):
        return Refusal(500, "model_damaged", "the model's files cannot be used; the server's log says why")
    return Refusal(500, "model_failed", f"the model failed: {type(error).__name__}; the server's log says why")
