"""From the bytes of a request to what it asks for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import Request

from tasks.base import Row, short
from tasks.serve.refusals import Refusal, invalid

FIELDS = ("inputs", "params", "model", "stream")


@dataclass(frozen=True)
class Order:
    """A request to a task.

    Attributes:
        many: whether the rows came as a list; so does the answer then.
        model: reference of a registered version; None: the task's champion.
    """

    rows: list[Row]
    many: bool
    parameters: Mapping[str, Any]
    model: str | None
    stream: bool


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body. Raises Refusal: 415, 408, 413, or 400 for what is no JSON object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "unsupported_media_type", "the content type is not application/json, the only one taken")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "unsupported_media_type", "the content is encoded; send it as it is")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Refusal(400, "invalid_json", f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refusal(400, "invalid_json", f"the body is not JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise Refusal(400, "invalid_json", f"the body is not JSON that can be used: {what}") from None
    if not isinstance(value, dict):
        raise invalid(f"the body is {short(value)}; valid: an object")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def read_order(body: dict[str, Any]) -> Order:
    """What a body asks of a task. Raises Refusal, naming the field. Rows and parameters are the task's to check."""
    unknown = [name for name in body if name not in FIELDS]
    if unknown:
        raise invalid(f"unknown field {short(unknown[0])}; valid: {', '.join(FIELDS)}")
    inputs = body.get("inputs")
    if not isinstance(inputs, (dict, list)):
        raise invalid(f"inputs is {short(inputs)}; valid: a row (an object), or a list of rows", "inputs")
    many = isinstance(inputs, list)
    stream = read_flag(body, "stream")
    if many and stream:
        raise invalid("inputs is a list, and stream is true; valid: one row (an object) to stream", "inputs")
    parameters = body.get("params")
    if parameters is not None and not isinstance(parameters, dict):
        raise invalid(f"params is {short(parameters)}; valid: an object of names and values", "params")
    return Order(inputs if many else [inputs], many, parameters or {}, read_model(body), stream)


def read_flag(fields: Mapping[str, Any], name: str) -> bool:
    """A field that is true or false; left out or null it is false."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{name} is {short(value)}; valid: true or false", name)
    return bool(value)


def read_model(body: Mapping[str, Any]) -> str | None:
    """The reference of a registered version; None if the request leaves the choice."""
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise invalid(f"model is {short(model)}; valid: name, name@alias or name/version", "model")
    return model
