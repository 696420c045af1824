"""Task `chatbot`: the next reply of a conversation."""

from bisect import bisect_left
from collections.abc import Generator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tasks.base import Cancel, ModelFolderError, TaskInputError, check_text, first_line, short
from tasks.engines.generation import MAX_NEW_TOKENS, SPACES, TEMPERATURE_HELP, LanguageTask, Sampling, WritingTask
from tasks.engines.language_model import ChatTemplateError
from tasks.engines.streaming import Emit, Event, follow
from tasks.json_files import parse_json, read_json
from tasks.parameters import option
from tasks.texts import MAX_TEXT_BYTES

DEFAULTS_FILE = "generation_defaults.json"
ROLES = ("system", "user", "assistant")
VALID = (
    f"a list of messages, each with role ({', '.join(ROLES)}) and content (text), the last one the user's, "
    "or the beginning of a reply"
)
PROBED = 4  # system messages of which is looked whether the template drops them

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
            value = parse_json(value)
        except ValueError as error:
            raise TaskInputError(f"messages is {short(value)}; valid: {VALID}") from error
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)) or not value:
        raise TaskInputError(f"messages is {short(value)}; valid: {VALID}")
    checked = [_check_message(f"messages[{index}]", message) for index, message in enumerate(value)]
    messages = _merged([message for message in checked if message["role"] != "system" or message["content"]])
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
    if role == "system" and (content is None or (isinstance(content, str) and not content.strip())):
        return {"role": role, "content": ""}  # what clients send of a field for it that is empty
    return {"role": role, "content": check_text(f"{field}.content", content)}


def _merged(messages: Messages) -> Messages:
    """The messages with neighboring turns of the assistant as one: templates take no two, and clients send them."""
    merged: Messages = []
    for message in messages:
        if merged and message["role"] == merged[-1]["role"] == "assistant":
            said = [merged.pop()["content"], message["content"]]
            message = {**message, "content": "\n\n".join(text for text in said if text)}
        merged.append(message)
    return merged


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
    """Of the chatbot, whose replies may be longer, and should keep to the facts."""

    max_new_tokens: int = option(256, "maximum number of new tokens", ge=1, le=MAX_NEW_TOKENS)
    temperature: float = option(0.0, TEMPERATURE_HELP, ge=0, le=5)
    # Small models say the same thing again and again without it.
    repetition_penalty: float = option(1.1, "above 1 penalizes repeated tokens", ge=0.5, le=2)


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
    example = {"messages": [{"role": "user", "content": "Hello! Can you recommend a book for a rainy day?"}]}
    example_parameters = {"max_new_tokens": 20}

    def load(self) -> None:
        super().load()
        self.system = _own_system(self.folder)

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"messages": check_messages(row["messages"])}

    def texts_of(self, row: dict[str, Any]) -> list[str]:
        return [message["content"] for message in row["messages"]]

    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        messages = [*self._own(row["messages"]), *row["messages"]]
        tokens, dropped = self._fit(messages, self.room(parameters))
        fitting = self.fitted(parameters, tokens)
        if begins_reply(messages):
            written = self.write_on(messages[-1]["content"], tokens, fitting, emit, cancel)
        else:
            written = self.engine.write(tokens, fitting, emit, cancel, continues=False)
        facts: dict[str, Any] = {"prompt_tokens": len(tokens), "dropped_messages": dropped, "window": self.window}
        if any(message["role"] == "system" for message in row["messages"]):
            facts["system_seen"] = self._system_seen(row["messages"])
        return {"reply": written.text, **written.facts(), **facts}

    def converse(
        self, row: dict[str, Any], order: dict[str, Any], parameters: dict[str, Any], cancel: Cancel
    ) -> Generator[Event, None, dict[str, Any]]:
        """Answer a row with what only some engines can do, as OpenAI's chat completions ask for it.

        No message is left out. Args: order: `messages` and what is asked, see `LanguageModel.chat`; the row's messages
        say the same as text. Yields `{"choice": part of an answer}`, and returns the output row, with all `choices`.
        """
        own = self._own(row["messages"])
        whole, plain = {**order, "messages": [*own, *order["messages"]]}, [*own, *row["messages"]]
        prompt_tokens, choices = yield from follow(
            lambda emit, cancelled: self.engine.chat(whole, plain, parameters, emit, cancelled), cancel
        )
        return {
            "reply": choices[0].message["content"] or "",
            "finish_reason": choices[0].finish_reason,
            "choices": [choice.whole(index) for index, choice in enumerate(choices)],
            "prompt_tokens": prompt_tokens,
            "tokens": sum(choice.tokens for choice in choices),
        }

    def _own(self, messages: Messages) -> Messages:
        """The folder's own system message, where a conversation has none."""
        return [{"role": "system", "content": self.system}] if self.system and messages[0]["role"] != "system" else []

    def _fit(self, messages: Messages, room: int) -> tuple[list[int], int]:
        """The prompt's tokens, and how many messages had to be left out for them to fit."""
        opening = messages[:1] if messages[0]["role"] == "system" else []
        talk = messages[len(opening) :]
        # What is kept begins with a message of the user: templates want turns to take turns.
        begins = [0, *(index for index, message in enumerate(talk) if index and message["role"] == "user")]

        @cache
        def tokens(begin: int) -> list[int]:
            return self._tokens(opening + talk[begin:])

        if len(tokens(0)) <= room:
            return tokens(0), 0
        # The later it begins, the shorter it is.
        place = bisect_left(begins, -room, key=lambda begin: -len(tokens(begin)))
        newest = begins[min(place, len(begins) - 1)]
        if len(tokens(newest)) >= self.window:
            raise MessagesTooLongError(len(tokens(newest)), self.window)
        return tokens(newest), newest

    def _system_seen(self, messages: Messages) -> bool:
        """Whether what the system messages of a talk say becomes part of the prompt; of many, the first ones."""
        talk = [{**message, "content": "a"} for message in messages]
        prompt = self._tokens(talk)
        places = [place for place, message in enumerate(messages) if message["role"] == "system"]
        other = {"role": "system", "content": "b"}
        changed = ([*talk[:place], other, *talk[place + 1 :]] for place in places[:PROBED])
        return all(self._tokens(one) != prompt for one in changed)

    def _tokens(self, messages: Messages) -> list[int]:
        if begins_reply(messages):
            *before, last = messages
            messages = [*before, {**last, "content": last["content"].rstrip(SPACES)}]
        try:
            return self.engine.encode_chat(messages, continues=begins_reply(messages))
        except ChatTemplateError as error:
            raise TaskInputError(f"messages do not fit this model's chat template: {error}; valid: {VALID}") from error
