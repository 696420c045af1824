"""OpenAI's chat completions in terms of the task `chatbot`, so that programs written for that API work here.

https://platform.openai.com/docs/api-reference/chat; docs/serving.md says of each field what becomes of it. What would
change the kind of the answer and cannot be done is refused by name; every other field that is not known is ignored.
"""

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field

from tasks.base import MAX_ROWS, Row, short
from tasks.engines.generation import MAX_NEW_TOKENS
from tasks.serve.bodies import Reference, TaskRequest
from tasks.serve.errors import ApiError, invalid
from tasks.serve.responses import AnswerFormat, is_output, sent_event

TASK = "chatbot"
DONE = format_sse_event(data_str="[DONE]")
SEEDS = 2**32
# Of fields that cannot be honored, the values that change nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
# JSON has one kind of number, and clients send 3.0 for 3.
Whole = Annotated[int, Field(strict=False)]


class TextPart(BaseModel):
    """A part of a message. (A picture's parts cannot be read by the models here.)"""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message; its parts are joined by line breaks, and no content (null) is an empty text."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True, max_length=MAX_ROWS)] | None = None

    def row(self) -> dict[str, str]:
        """The message as the task takes it: `developer` is a newer name for `system`."""
        content = self.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ChatBody(BaseModel):
    """A request for the next reply of a conversation. The last two fields before `stream` are not OpenAI's."""

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        json_schema_extra={"examples": [{"model": TASK, "messages": [{"role": "user", "content": "Hello!"}]}]},
    )

    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=MAX_ROWS)]
    model: Reference = None
    max_completion_tokens: Annotated[Whole, Field(ge=1)] | None = None
    max_tokens: Annotated[Whole, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: Whole | None = None
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    top_k: Whole | None = None
    repetition_penalty: float | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with counts of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def request(self) -> TaskRequest:
        """What is asked of the task. Raises ApiError for a field that cannot be honored."""
        for name, neutral in NEUTRAL.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in neutral:
                raise invalid(f"{name} is {short(value)}; valid: {short(neutral[0])}, or leave it out", name)
        parameters = self.model_dump(include={"temperature", "top_p", "top_k", "repetition_penalty"}, exclude_none=True)
        # The task writes fewer where its model's window leaves less.
        parameters["max_new_tokens"] = min(
            self.max_completion_tokens or self.max_tokens or MAX_NEW_TOKENS, MAX_NEW_TOKENS
        )
        if self.seed is not None:
            parameters["seed"] = self.seed % SEEDS if self.seed >= 0 else secrets.randbelow(SEEDS)
        if self.stop:
            parameters["stop"] = _stop([self.stop] if isinstance(self.stop, str) else self.stop)
        row = {"messages": [message.row() for message in self.messages]}
        return TaskRequest([row], False, parameters, self.model, bool(self.stream))


def _stop(strings: list[str]) -> str:
    """Stop strings as the task takes them: one a line, a line break written out."""
    if not all(strings):
        raise invalid("stop has an empty text; valid: texts of 1 character or more", "stop")
    if any("\\n" in one for one in strings):
        raise invalid("stop has a backslash before an n, which cannot be given here", "stop")
    return "\n".join(one.replace("\n", "\\n") for one in strings)


@dataclass(frozen=True)
class ChatFormat(AnswerFormat):
    """Writes one answer in the API's shapes: whole, or as the chunks of a stream."""

    model: str
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, row: Row) -> dict[str, Any]:
        message = {"role": "assistant", "content": row["reply"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": row["finish_reason"]}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(row)}

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def event(self, event: Row) -> bytes:
        if not is_output(event):
            return self._chunk({"content": event["piece"]})
        end = self._chunk({}, event["finish_reason"])
        if self.include_usage:
            end += sent_event({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(event)})
        return end + DONE

    def error(self, error: ApiError) -> bytes:
        return sent_event(error.body()) + DONE

    def _chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self.include_usage else {}
        return sent_event({**self._head("chat.completion.chunk"), "choices": [choice], **usage})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def _usage(row: Row) -> dict[str, int]:
    read, written = row["prompt_tokens"], row["tokens"]
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
