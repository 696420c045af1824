"""What the gateway says of itself: tasks and models for people, OpenAPI for programs.

https://spec.openapis.org/oas/v3.1.0. Columns, parameters and their bounds are the tasks' own.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from tasks import TASKS, task_class
from tasks.base import MAX_ROWS
from tasks.parameters import Parameters, Schema
from tasks.registry import RegisteredVersion
from tasks.serve.completions import PARAMETERS
from tasks.serve.completions import TASK as CHATBOT
from tasks.serve.settings import Settings

TEXT: Schema = {"type": "string", "minLength": 1}
MESSAGE: Schema = {
    "type": "object",
    "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": TEXT},
    "required": ["role", "content"],
}
PICTURE: Schema = {
    "description": "PNG or JPEG as base64, or rows of pixels from 0 to 255 (numbers for gray, triples for color)",
    "type": ["string", "array", "null"],
}
# The schema and an example of every column; a column that is not here may be anything.
COLUMNS: dict[str, tuple[Schema, Any]] = {
    "text": (TEXT, "Once upon a time there was a warm and clever film."),
    "question": (TEXT, "Who wrote it?"),
    "context": (TEXT, "The book was written by Ada."),
    "prompt": (TEXT, "a lighthouse at night"),
    "messages": ({"type": "array", "items": MESSAGE, "minItems": 1}, [{"role": "user", "content": "Hello!"}]),
    "image": (PICTURE, [[0, 128, 255], [0, 128, 255], [0, 128, 255]]),
    "sequence": ({"type": "array", "items": {"type": "integer"}, "minItems": 1}, [3, 1, 4, 1, 5]),
}
EVENT: Schema = {
    "description": "a piece of the answer or a step; last the output row, or what went wrong",
    "type": "object",
    "properties": {
        "event": {"enum": ["part", "row", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
REFUSALS = {
    400: "what was sent cannot be used",
    401: "the token is missing or wrong",
    403: "asked under a name that is not this machine's own, without a token",
    404: "there is no such task or model",
    408: "the request did not arrive in time",
    413: "the request is too large",
    415: "the request is not application/json",
    429: "too many wait; come back after Retry-After seconds",
    500: "the model failed",
    503: "the registry does not answer, a model is too large for the memory, or the server is shutting down",
    504: "the answer took too long and was stopped",
}
READING = (401, 403, 500, 503)  # what also a GET without a body can be answered with


def describe_task(task: str, versions: Sequence[RegisteredVersion]) -> dict[str, Any]:
    """A task: columns (true: required), parameters, and the registered versions that can be named."""
    cls = task_class(task)
    return {
        "task": task,
        "description": _summary(task),
        "inputs": dict(cls.inputs),
        "params": parameter_schemas(cls.parameters),
        "models": [{"model": one.key, "name": one.model, "champion": one.champion} for one in versions],
    }


def describe_model(reference: str, version: RegisteredVersion) -> dict[str, Any]:
    """A registered version as OpenAI lists its models."""
    created = int(version.created.timestamp())
    return {"id": reference, "object": "model", "created": created, "owned_by": version.model}


def parameter_schemas(model: type[Parameters]) -> dict[str, Schema]:
    """JSON schema of each parameter; null stands for the default."""
    return {name: {**spec, "type": [spec["type"], "null"]} for name, spec in model.specs().items()}


def openapi(settings: Settings) -> dict[str, Any]:
    """The OpenAPI document of this gateway."""
    paths: dict[str, Any] = {f"/tasks/{task}": {"post": _task_operation(task)} for task in TASKS}
    paths["/tasks"] = {"get": _reading("Tasks with their columns, parameters and registered models", {"type": "array"})}
    paths["/v1/chat/completions"] = {"post": _chat_operation()}
    paths["/v1/models"] = {"get": _reading("Models of the chatbot, as OpenAI lists them", {"type": "object"})}
    model = _reading("A model of the chatbot", {"type": "object"}, 404)
    model["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    paths["/v1/models/{model}"] = {"get": model}
    health = _reading("Whether the server lives", {"type": "object"})
    paths["/healthz"] = {"get": {**health, "security": []}}
    paths["/metrics"] = {"get": _reading("Numbers for Prometheus", {"type": "string"}, media="text/plain")}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Project-DL gateway", "version": "1", "description": "Every registered task at one address."},
        "paths": paths,
        "components": {"schemas": {"Error": _error()}},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _task_operation(task: str) -> dict[str, Any]:
    cls = task_class(task)
    row = _object(
        {column: COLUMNS.get(column, ({}, None))[0] for column in cls.inputs},
        [column for column, required in cls.inputs.items() if required],
        closed=False,  # as a table may have more columns
    )
    body = _object(
        {
            "inputs": {"oneOf": [row, {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}]},
            "params": _object(parameter_schemas(cls.parameters), nullable=True),
            "model": _reference(),
            "stream": {"type": ["boolean", "null"], "description": "server-sent events; for one row only"},
        },
        ["inputs"],
    )
    example = {column: COLUMNS[column][1] for column, required in cls.inputs.items() if required and column in COLUMNS}
    result = _object({"model": {"type": "string"}, "seconds": {"type": "number"}}, ["model", "seconds"], closed=False)
    return {
        "operationId": task,
        "summary": _summary(task),
        "description": inspect.getdoc(cls) or "",
        "requestBody": _content(body, {"inputs": example}),
        "responses": _responses({"oneOf": [result, {"type": "array", "items": result}]}, EVENT),
    }


def _chat_operation() -> dict[str, Any]:
    specs = parameter_schemas(task_class(CHATBOT).parameters)
    messages, example = COLUMNS["messages"]
    body = _object(
        {
            "messages": messages,
            "model": _reference(),
            "stream": {"type": ["boolean", "null"]},
            "stream_options": _object({"include_usage": {"type": "boolean"}}, nullable=True),
            "stop": {"type": ["string", "array", "null"], "items": TEXT},
            **{name: specs[parameter] for name, parameter in PARAMETERS.items()},
        },
        ["messages"],
        closed=False,
    )
    return {
        "operationId": "chat.completions",
        "summary": "The next reply of a conversation, as OpenAI's API has it",
        "requestBody": _content(body, {"model": CHATBOT, "messages": example}),
        "responses": _responses({"type": "object"}, {"type": "object", "required": ["data"]}),
    }


def _reference() -> Schema:
    text = "name, name@alias or name/version of a registered model of the task; without it, the task's champion"
    return {"type": ["string", "null"], "description": text, "minLength": 1, "maxLength": 256}


def _reading(summary: str, schema: Schema, *more: int, media: str = "application/json") -> dict[str, Any]:
    answered = {"200": {"description": "the answer", "content": {media: {"schema": schema}}}}
    return {"summary": summary, "responses": {**answered, **_refusals((*READING, *more))}}


def _responses(schema: Schema, event: Schema) -> dict[str, Any]:
    """Of a POST. In OpenAPI 3.1 the schema of a stream is that of each of its events."""
    content = {"application/json": {"schema": schema}, "text/event-stream": {"schema": event}}
    return {"200": {"description": "the answer", "content": content}, **_refusals(tuple(REFUSALS))}


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": REFUSALS[status], "content": content} for status in sorted(statuses)}


def _error() -> Schema:
    text: Schema = {"type": "string"}
    known = {"message": text, "type": text, "param": {"type": ["string", "null"]}, "code": text}
    return _object({"error": _object(known, list(known))}, ["error"])


def _object(
    properties: Mapping[str, Schema], required: Sequence[str] = (), *, closed: bool = True, nullable: bool = False
) -> Schema:
    kind: Any = ["object", "null"] if nullable else "object"
    schema: Schema = {"type": kind, "properties": dict(properties), "additionalProperties": not closed}
    return {**schema, "required": list(required)} if required else schema


def _content(schema: Schema, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _summary(task: str) -> str:
    return (inspect.getdoc(task_class(task)) or task).splitlines()[0]
