"""OpenAI's chat completions in terms of the task `chatbot`, so that programs written for that API work here.

https://platform.openai.com/docs/api-reference/chat. What the task cannot do is refused by name; what would change
nothing here (a `user`, `store`) is ignored, and so are settings of features that are not there, at their neutral value.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.base import Row, TaskInputError, short
from tasks.serve.reading import Order, read_flag, read_model
from tasks.serve.refusals import Refusal, invalid
from tasks.serve.replies import is_output, sent_event

TASK = "chatbot"
DONE = b"data: [DONE]\n\n"
# Fields of the API and the task's parameters that they are; the last two are not OpenAI's.
PARAMETERS = {
    "max_completion_tokens": "max_new_tokens",
    "max_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
}
OWN = ("model", "messages", "stream", "stream_options", "stop", *PARAMETERS)
IGNORED = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "presence_penalty": (0,), "frequency_penalty": (0,), "logit_bias": ({},), "logprobs": (False,),
    "tools": ([],), "tool_choice": ("none", "auto"), "response_format": ({"type": "text"},), "modalities": (["text"],),
}  # fmt: skip
ROLES = {"developer": "system"}  # a newer name for the same


def read_chat(body: dict[str, Any]) -> tuple[Order, bool]:
    """What a chat completion asks of the task, and whether its stream shall end with counts of tokens."""
    for name, value in body.items():
        if value is None or name in OWN or name in IGNORED or value in NEUTRAL.get(name, ()):
            continue
        what = f"{name} is not supported here" if name in NEUTRAL else f"unknown field {short(name)}"
        raise invalid(f"{what}; valid: {', '.join(OWN)}", name if name in NEUTRAL else None)
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise invalid(f"stream_options is {short(options)}; valid: an object with include_usage", "stream_options")
    parameters = {PARAMETERS[name]: body[name] for name in reversed(PARAMETERS) if body.get(name) is not None}
    if body.get("stop") is not None:
        parameters["stop"] = _stop(body["stop"])
    row = {"messages": _messages(body.get("messages"))}
    order = Order([row], False, parameters, read_model(body), read_flag(body, "stream"))
    return order, read_flag(options, "include_usage")


def _stop(value: Any) -> str:
    """Stop strings as the task takes them: one a line, a line break written out."""
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(one, str) and one for one in strings):
        raise invalid(f"stop is {short(value)}; valid: a text, or a list of texts", "stop")
    if any("\\n" in one for one in strings):
        raise invalid("stop has a backslash before an n, which cannot be given here", "stop")
    return "\n".join(one.replace("\n", "\\n") for one in strings)


def _messages(value: Any) -> Any:
    """Messages whose contents are texts, as the task takes them; what is wrong with them it says itself."""
    if not isinstance(value, list):
        return value if value is None else [value]
    return [_message(f"messages[{index}]", one) for index, one in enumerate(value)]


def _message(place: str, message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        for part in content:
            if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                raise invalid(f"{place}.content has a part that is no text; valid: parts of the type text", "messages")
        content = "\n".join(part["text"] for part in content)
    return {"role": ROLES.get(role, role) if isinstance(role, str) else role, "content": content}


def in_openai_words(error: TaskInputError, body: Mapping[str, Any]) -> Refusal:
    """What the task says of its parameters, by the names that the API has for them."""
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    text = str(error).replace("max_new_tokens", name)
    first = text.replace("[", " ").split()[0]
    return invalid(text, first if first in OWN else None)


@dataclass(frozen=True)
class Completion:
    """Writes one answer in the API's shapes: whole, or as the events of a stream (it is a `Style`)."""

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

    def error(self, error: Refusal) -> bytes:
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
