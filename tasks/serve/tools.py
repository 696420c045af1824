"""What OpenAI's chat completions may ask for besides text: calls of functions, and answers that are JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

MOST_TOOLS = 128
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Function(BaseModel):
    """A function that may be called; its parameters are a JSON schema of an object."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(BaseModel):
    """What a model may call."""

    type: Literal["function"]
    function: Function


class FunctionName(BaseModel):
    name: Name


class NamedTool(BaseModel):
    """The one function that has to be called."""

    type: Literal["function"]
    function: FunctionName


class FunctionCall(BaseModel):
    """A function and its arguments, JSON in a text."""

    name: Name
    arguments: str


class ToolCall(BaseModel):
    """A call that the assistant made."""

    id: str
    type: Literal["function"]
    function: FunctionCall


class JsonSchema(BaseModel):
    name: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(BaseModel):
    """The form of the reply: text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


Tools = Annotated[list[Tool], Field(fail_fast=True, max_length=MOST_TOOLS)]
ToolChoice = Literal["none", "auto", "required"] | NamedTool
ToolCalls = Annotated[list[ToolCall], Field(fail_fast=True, max_length=MOST_TOOLS)]
