"""The bodies of requests and answers as pydantic models: FastAPI checks them and describes them in `/openapi.json`.

Rows and parameters are checked by their task, in a thread; here they have its schema only. Lists are bounded, and
fail at their first error: a body may hold millions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model, model_validator

from tasks import task_class
from tasks.base import MAX_ROWS, Row, Task, short
from tasks.parameters import Schema
from tasks.serve.errors import invalid

TEXT: Schema = {"type": "string", "minLength": 1}
MESSAGE: Schema = {
    "type": "object",
    "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
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
Inputs = dict[str, Any] | Annotated[list[dict[str, Any]], Field(fail_fast=True, max_length=MAX_ROWS)]
Reference = Annotated[
    str | None,
    Field(description="name, name@alias or name/version of a registered model; without it, the task's champion"),
]


@dataclass(frozen=True)
class TaskRequest:
    """What a request asks of a task.

    Attributes:
        many: whether the rows came as a list; so does the answer then.
        model: reference of a registered version; None: the task's champion.
        order: of a chat what only some engines can do; None: nothing.
    """

    rows: Sequence[Row]
    many: bool
    parameters: dict[str, Any]
    model: str | None
    stream: bool
    order: Row | None = None


class TaskBody(BaseModel):
    """A request to a task."""

    model_config = ConfigDict(strict=True, extra="forbid")

    inputs: Inputs
    params: dict[str, Any] | None = None
    model: Reference = None
    stream: Annotated[bool | None, Field(description="server-sent events; for one row only")] = None

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        # pydantic would report every unknown field, of which there may be millions.
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                raise invalid(f"unknown field {short(name)}; valid: {', '.join(cls.model_fields)}")
        return given

    def request(self) -> TaskRequest:
        """Raises ApiError for what does not go together."""
        many = isinstance(self.inputs, list)
        if many and self.stream:
            raise invalid("inputs is a list, and stream is true; valid: one row (an object) to stream", "inputs")
        rows = self.inputs if isinstance(self.inputs, list) else [self.inputs]
        return TaskRequest(rows, many, self.params or {}, self.model, bool(self.stream))


class TaskResult(BaseModel):
    """An output row; besides these it has the columns of its task."""

    model_config = ConfigDict(extra="allow")

    model: str
    seconds: float


class TaskEvent(BaseModel):
    """A piece of the answer or a step; last the output row, or what went wrong."""

    event: Annotated[str, Field(json_schema_extra={"enum": ["part", "row", "error"]})]
    data: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]


def task_body(task: str) -> type[TaskBody]:
    """The body of a request to a task, with the schema of its columns and parameters."""
    cls = task_class(task)
    row = {
        "type": "object",
        "properties": {column: COLUMNS.get(column, ({}, None))[0] for column in cls.inputs},
        "required": [column for column, required in cls.inputs.items() if required],
    }
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_ROWS}
    parameters = {"type": ["object", "null"], "properties": parameter_schemas(cls), "additionalProperties": False}
    example = {column: COLUMNS[column][1] for column, required in cls.inputs.items() if required and column in COLUMNS}
    fields: dict[str, Any] = {
        "inputs": (Annotated[Inputs, WithJsonSchema({"anyOf": [row, rows], "examples": [example]})], ...),
        "params": (Annotated[dict[str, Any] | None, WithJsonSchema(parameters)], None),
    }
    return create_model(f"{task}-body", __base__=TaskBody, **fields)


def parameter_schemas(task: type[Task]) -> dict[str, Schema]:
    """JSON schema of each parameter; null stands for the default."""
    return {name: {**spec, "type": [spec["type"], "null"]} for name, spec in task.parameters.specs().items()}
