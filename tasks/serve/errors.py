"""Errors as clients see them: a status, a code for programs, a sentence for the user.

The body has the shape of OpenAI's errors at every address, so that there is one to know. Nothing of a request comes
back in it but names of fields and short values; details of this machine go to its log only.
"""

import json
import logging
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tasks.base import ModelFolderError, TaskInputError, short
from tasks.registry import ModelNotFoundError
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import JobCancelled, QueueFullError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.memory import DeviceFullError

logger = logging.getLogger(__name__)

SEE_LOG = "the server's log says why"
# Status, code and message of each kind of error; without a message it is the error's own.
ANSWERS: dict[type[Exception], tuple[int, str, str]] = {
    TaskInputError: (400, "invalid_input", ""),
    ModelNotFoundError: (404, "model_not_found", ""),
    QueueFullError: (429, "queue_full", ""),
    JobCancelled: (503, "stopped", ""),
    TimeoutError: (504, "timeout", "the answer took longer than this server allows; it was stopped"),
    ModelTooLargeError: (503, "model_too_large", ""),
    DeviceFullError: (503, "device_full", ""),
    StoreUnreachableError: (
        503,
        "registry_unreachable",
        "the model registry does not answer; the server's log says why",
    ),
    ModelFolderError: (500, "model_damaged", f"the model's files cannot be used; {SEE_LOG}"),
}
LOGGED = (ModelTooLargeError, DeviceFullError, StoreUnreachableError, ModelFolderError)  # their text says all
TYPES = {401: "authentication_error", 429: "rate_limit_error"}
# What Starlette says itself, of addresses and methods that there are not.
UNKNOWN = {
    404: ("no_such_address", "there is nothing at this address; GET /openapi.json lists all"),
    405: ("method_not_allowed", "this address does not take this method"),
}

# pydantic's kinds of errors, and what is valid instead; others say it themselves.
VALID = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """The body of an error."""

    error: ErrorDetail


class ApiError(HTTPException):
    """A request that is answered with an error. Also raised by middleware: FastAPI lets an HTTPException through."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers or {})
        self.code, self.param = code, param

    def body(self) -> dict[str, Any]:
        """The JSON that the client gets."""
        kind = TYPES.get(self.status_code, "invalid_request_error" if self.status_code < 500 else "server_error")
        return {"error": {"message": self.detail, "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None) -> ApiError:
    """A 400: what was sent cannot be used."""
    return ApiError(400, "invalid_input", message, param)


def api_error(error: Exception) -> ApiError:
    """How a client hears of an error. What it is not told goes to the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid_body(error)
    if isinstance(error, HTTPException):
        if error.__cause__ is not None:
            return _unreadable(error.__cause__)
        code, message = UNKNOWN.get(error.status_code, ("http_error", error.detail))
        return ApiError(error.status_code, code, message, headers=dict(error.headers or {}))
    kind = next((one for one in type(error).__mro__ if one in ANSWERS), None)
    if kind is None or isinstance(error, LOGGED):
        logger.error("%s", error, exc_info=error if kind is None else None)
    if kind is None:
        return ApiError(500, "model_failed", f"the model failed: {type(error).__name__}; {SEE_LOG}")
    status, code, message = ANSWERS[kind]
    return ApiError(status, code, message or str(error), "model" if kind is ModelNotFoundError else None)


def _unreadable(cause: BaseException) -> ApiError:
    """Of a body that is no JSON."""
    if isinstance(cause, json.JSONDecodeError):
        what = f"{cause.msg} at line {cause.lineno}, column {cause.colno}"
    elif isinstance(cause, UnicodeDecodeError):
        what = f"it is not {cause.encoding} at byte {cause.start}"
    else:
        what = "it is nested too deeply" if isinstance(cause, RecursionError) else str(cause).partition(";")[0]
    return ApiError(400, "invalid_json", f"the body is not JSON: {what}")


def _invalid_body(error: RequestValidationError) -> ApiError:
    """In one line: the field, its value, and what is valid. Of several errors, the first that lies deepest.

    (A union reports an error for each of its members; the one that got furthest is the one that was meant.)
    """
    if error.__cause__ is not None:
        return _unreadable(error.__cause__)
    errors: list[dict[str, Any]] = list(error.errors())
    places = [(_place(error.body, one), one) for one in errors]
    path, first = max(places, key=lambda entry: len(entry[0]))
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:] or "the body"
    param = str(path[0]) if path else None
    if first["type"] == "missing":
        return invalid(f"{place} is missing", param)
    valid = [_valid(one) for at, one in places if at == path]
    return invalid(f"{place} is {short(first['input'])}; valid: {' or '.join(dict.fromkeys(valid))}", param)


def _valid(error: dict[str, Any]) -> str:
    known = VALID.get(error["type"])
    return known.format_map(error.get("ctx", {})) if known else error["msg"].removeprefix("Input should be ")


def _place(body: Any, error: dict[str, Any]) -> list[str | int]:
    """Where in a body an error lies: its location without pydantic's names for the members of unions."""
    path: list[str | int] = []
    for part in error["loc"][1:]:
        if (isinstance(body, dict) and part in body) or (isinstance(body, list) and isinstance(part, int)):
            path.append(part)
            body = body[part]
    return [*path, error["loc"][-1]] if error["type"] == "missing" and len(error["loc"]) > 1 else path
