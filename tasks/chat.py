"""Task `chatbot`: the next reply of a conversation."""

import json
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tasks.base import Cancel, ModelFolderError, TaskInputError, check_text, first_line, short
from tasks.engines.generation import MAX_NEW_TOKENS, TEMPERATURE_HELP, LanguageTask, Sampling, WritingTask
from tasks.engines.language_model import ChatTemplateError
from tasks.engines.streaming import Emit
from tasks.json_files import read_json
from tasks.parameters import option
from tasks.texts import MAX_TEXT_BYTES

DEFAULTS_FILE = "generation_defaults.json"
ROLES = ("system", "user", "assistant")
VALID = (
    f"a list of messages, each with role ({', '.join(ROLES)}) and content (text), the last one the user's, "
    "or the beginning of a reply"
)
# Tokens of the window that are kept for the reply, before messages are left out; half of it in a small one.
RESERVED = 256

Messages = list[dict[str, str]]


class MessagesTooLongError(TaskInputError):
    """The newest message, with the system's, does not fit into the model's window; both are counted in tokens."""

    def __init__(self, tokens: int, window: int) -> None:
        super().__init__(
            f"messages has {tokens} tokens in its newest message (and the system message); valid: "
            f"at most {window - 1} for this model"
        )
        self.tokens, self.window = tokens, window


def check_messages(value: Any) -> Messages:
    """A conversation as plain messages. Raises TaskInputError, naming the message, for what is none.

    Tables hold lists as arrays, and forms send them as JSON text: both are taken.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise TaskInputError(f"messages is {short(value)}; valid: {VALID}") from error
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or not value:
        raise TaskInputError(f"messages is {short(value)}; valid: {VALID}")
    messages = [_check_message(f"messages[{index}]", message) for index, message in enumerate(value)]
    while messages and is_blank(messages[-1]):  # the beginning of a reply that has not begun
        messages.pop()
    if not messages or messages[-1]["role"] == "system":
        raise TaskInputError(f"messages ends without a message to answer; valid: {VALID}")
    size = sum(len(message["content"].encode()) for message in messages)
    if size > MAX_TEXT_BYTES:
        raise TaskInputError(f"messages has {size} bytes of text; valid: at most {MAX_TEXT_BYTES // 2**20} MB")
    return messages


def _check_message(field: str, message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise TaskInputError(f"{field} is {short(message)}; valid: an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        raise TaskInputError(f"{field}.role is {short(role)}; valid: {', '.join(ROLES)}")
    content = message.get("content")
    if role == "assistant" and (content is None or is_blank({"role": role, "content": content})):
        return {"role": role, "content": content or ""}  # it had nothing to say; clients send that back so, or as null
    return {"role": role, "content": check_text(f"{field}.content", content)}


def is_blank(message: Mapping[str, Any]) -> bool:
    """Whether this is a turn of the assistant without text."""
    content = message["content"]
    return message["role"] == "assistant" and isinstance(content, str) and not content.strip()


def begins_reply(messages: Messages) -> bool:
    """Whether the last message is the beginning of the reply."""
    return messages[-1]["role"] == "assistant"


def _own_system(folder: Path) -> str:
    """The system message that a model's folder suggests; empty without one. Raises ModelFolderError."""
    path = folder / DEFAULTS_FILE
    if not path.exists():
        return ""
    try:
        return check_text("system", read_json(path).get("system"))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFolderError(f"{path} cannot be used: {first_line(error)}") from error


class ReplyParameters(Sampling):
    """Of the chatbot, whose replies may be longer, and shall keep to the facts."""

    max_new_tokens: int = option(256, "most tokens to write", ge=1, le=MAX_NEW_TOKENS)
    temperature: float = option(0.2, TEMPERATURE_HELP, ge=0, le=5)
    # Small models say the same thing again and again without it.
    repetition_penalty: float = option(1.1, "above 1 avoids tokens that were there before", ge=0.5, le=2)


class Chatbot(WritingTask, LanguageTask):
    """Answers in a conversation, in the form of the model's chat template.

    A model without one continues the text of the messages (see its engine). What the window has no room for is left
    out: the oldest messages first, never the system message that opens the conversation. Where there is none, it is
    the one in the folder's `generation_defaults.json`, if it has such. The reply ends where the window does, also
    before `max_new_tokens`. Messages that end with the assistant's are the beginning of the reply: it is continued, and
    `reply` is what follows.

    Output: `reply`, `finish_reason`, `dropped_messages` (how many were left out), `prompt_tokens`, `tokens`, `window`
    (the most tokens that the model reads and writes at once); with a system message also `system_seen`: some chat
    templates have no place for one.
    """

    name = "chatbot"
    inputs = {"messages": True}
    texts = ()  # they are within the messages
    parameters = ReplyParameters

    def load(self) -> None:
        super().load()
        self.system = _own_system(self.folder)

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"messages": check_messages(row["messages"])}

    def texts_of(self, row: dict[str, Any]) -> list[str]:
        return [message["content"] for message in row["messages"]]

    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        messages = row["messages"]
        if self.system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        most = parameters["max_new_tokens"]
        tokens, dropped = self._fit(messages, self.window - min(most, RESERVED, self.window // 2))
        fitting = {**parameters, "max_new_tokens": min(most, self.window - len(tokens))}
        written = self.engine.write(tokens, fitting, emit, cancel, continues=begins_reply(messages))
        facts: dict[str, Any] = {"prompt_tokens": len(tokens), "dropped_messages": dropped, "window": self.window}
        if any(message["role"] == "system" for message in row["messages"]):
            facts["system_seen"] = self.system_seen
        return {"reply": written.text, **written.facts(), **facts}

    def _fit(self, messages: Messages, room: int) -> tuple[list[int], int]:
        """The prompt's tokens, and how many messages had to be left out for them to fit."""
        opening = messages[:1] if messages[0]["role"] == "system" else []
        talk = messages[len(opening) :]
        # What is kept begins with a message of the user: templates want turns to take turns.
        begins = [0, *(index for index, message in enumerate(talk) if index and message["role"] == "user")]

        @cache
        def tokens(begin: int) -> list[int]:
            return self._tokens(opening + talk[begin:])

        # The later it begins, the shorter it is.
        place = bisect_left(begins, -room, key=lambda begin: -len(tokens(begin)))
        newest = begins[min(place, len(begins) - 1)]
        if len(tokens(newest)) >= self.window:
            raise MessagesTooLongError(len(tokens(newest)), self.window)
        return tokens(newest), newest

    @cached_property
    def system_seen(self) -> bool:
        """Whether what a system message says becomes part of the prompt."""
        user = {"role": "user", "content": "a"}
        one, other = (self._tokens([{"role": "system", "content": text}, user]) for text in "ab")
        return one != other

    def _tokens(self, messages: Messages) -> list[int]:
        try:
            return self.engine.encode_chat(messages, continues=begins_reply(messages))
        except ChatTemplateError as error:
            raise TaskInputError(f"messages do not fit this model's chat template: {error}; valid: {VALID}") from error
