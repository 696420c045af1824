"""A conversation: messages as a tree, of which one branch is shown. Nothing here knows where it is kept."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

NAME_LENGTH = 60
UNNAMED = "New conversation"
MARGIN = 0.95  # parts of a text differ in how many characters make a token
LEAST = 200  # characters of a document: fewer say nothing


def new_id() -> str:
    """An id that cannot be guessed."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Message:
    """A turn of the user or of a model.

    Attributes:
        parent: the id of the message before it; None for the first one. Messages with one parent are its branches.
        documents: what was dropped into the message: `name`, `text`, `notes`, and `used`, the characters that the model
            is given.
        facts: of a reply: `model`, `reference`, `parameters`, and what the model's answer says besides its text.
        rating: 1 for thumbs up, -1 for thumbs down.
    """

    role: str
    content: str
    parent: str | None = None
    documents: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    rating: int | None = None
    comment: str = ""
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)

    @property
    def undecided(self) -> bool:
        """Whether it is one of a blind pair without a vote: which model wrote it stays hidden."""
        return bool(self.facts.get("blind") and not self.facts.get("vote"))

    def text(self) -> str:
        """What the model is given: the message, and its documents as far as they are used."""
        parts = [f"[{one['name']}]\n{one['text'][: one.get('used')]}" for one in self.documents]
        return "\n\n".join(part for part in [*parts, self.content] if part.strip())


@dataclass(frozen=True)
class Summary:
    """A line of the list."""

    id: str
    name: str
    changed: datetime


@dataclass
class Conversation:
    """All messages of a conversation, by their ids, and the end of the branch that is shown.

    Attributes:
        settings: the model, the system prompt and the parameters that it continues with.
    """

    id: str = field(default_factory=new_id)
    name: str = UNNAMED
    leaf: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)

    def path(self, leaf: str | None = None) -> list[Message]:
        """The messages from the first one to a leaf, by default the shown one."""
        found: list[Message] = []
        place = leaf or self.leaf
        while place in self.messages and len(found) <= len(self.messages):  # a damaged tree may have a circle
            found.append(self.messages[place])
            place = found[-1].parent
        return found[::-1]

    def siblings(self, message: Message) -> list[Message]:
        """The branches at a message, oldest first: it, and those that were written in its place."""
        return [one for one in self.messages.values() if (one.parent, one.role) == (message.parent, message.role)]

    def newest_leaf(self, start: str) -> str:
        """The end of the branch that continues from a message, by its newest turns."""
        last = {one.parent: one.id for one in self.messages.values()}  # in the order of writing
        place = start
        for _ in self.messages:
            place = last.get(place, place)
        return place


def shortened(message: Message, tokens: int, room: int) -> Message | None:
    """The message with less of its documents, so that its tokens fit; None if the documents are not at fault."""
    fraction = MARGIN * room / tokens
    used = [one["used"] if one.get("used") is not None else len(one["text"]) for one in message.documents]
    if fraction >= 1 or not any(int(length * fraction) >= LEAST for length in used):
        return None
    documents = ({**one, "used": int(length * fraction)} for one, length in zip(message.documents, used, strict=True))
    return replace(message, documents=tuple(documents))


def row_of(messages: list[Message], system: str = "") -> dict[str, Any]:
    """A branch as the row that a model answers. Chat templates want turns to take turns: equal roles are joined."""
    turns = [{"role": "system", "content": system}] if system.strip() else []
    for one in messages:
        text = one.text()
        if turns and turns[-1]["role"] == one.role:
            turns[-1] = {"role": one.role, "content": f"{turns[-1]['content']}\n\n{text}"}
        else:
            turns.append({"role": one.role, "content": text})
    return {"messages": turns}


def name_of(text: str) -> str:
    """The name of a conversation that begins with a text: its first line."""
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), UNNAMED)
    return line if len(line) <= NAME_LENGTH else line[: NAME_LENGTH - 1].rstrip() + "…"
