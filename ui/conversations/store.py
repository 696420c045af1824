"""Conversations in SQLite: each belongs to an owner, who finds, reads and changes only their own.

Raises `NotKeptError`, in one line, for a file that is locked, full, damaged or of a newer version of the program.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from tasks.disk import SQLITE_FULL
from ui.conversations.conversation import UNNAMED, Conversation, Message, Summary, name_of, now
from ui.conversations.schema import CONVERSATIONS, MESSAGES, TABLES, VERSION

SETTING = "PROJECT_DL_CONVERSATIONS"
FILE = Path(__file__).resolve().parents[2] / "conversations.db"
LOCK_S = 2.0  # a visitor waits no longer for another program that writes
LISTED = 50
REASONS = {
    "locked": "another program holds it",
    SQLITE_FULL: "no space left on its disk",
    "not a database": "it is damaged, or no database",
    "malformed": "it is damaged",
    "no such": "it is damaged",
    "readonly": "it cannot be written",
    "unable to open": "it cannot be opened",
    "disk I/O": "its disk does not work",
}


class NotKeptError(Exception):
    """A conversation could not be read or written. The text says of which file, and why."""


class MissingError(LookupError):
    """There is no such conversation, or it is another owner's: the error does not say which."""


def conversations_file() -> Path:
    """Where conversations are kept: PROJECT_DL_CONVERSATIONS, or `conversations.db` in the project's root."""
    return Path(os.environ.get(SETTING) or FILE)


class ConversationStore:
    """The conversations of all owners. May be used from several threads."""

    def __init__(self, file: Path | None) -> None:
        """Open a store, and make its tables. Args: file: None for one in memory. Raises NotKeptError."""
        self._name = file.name if file else "memory"
        if file is None:
            self._engine = sa.create_engine(
                "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
        else:
            self._engine = sa.create_engine(
                sa.URL.create("sqlite", database=str(file)), connect_args={"timeout": LOCK_S}
            )
        event.listen(self._engine, "connect", _prepare)
        # A store in memory has a single connection, and that one transaction at a time.
        self._turn = contextlib.nullcontext() if file else threading.RLock()
        with self._work() as work:
            self._migrate(work)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def listed(self, owner: str, search: str = "", most: int = LISTED) -> list[Summary]:
        """Conversations, the last changed one first; those whose name or messages have the searched text."""
        wanted = sa.select(CONVERSATIONS).where(CONVERSATIONS.c.owner == owner)
        if search.strip():
            text = search.strip()
            said = sa.exists().where(
                MESSAGES.c.conversation == CONVERSATIONS.c.id, MESSAGES.c.content.icontains(text, autoescape=True)
            )
            wanted = wanted.where(sa.or_(CONVERSATIONS.c.name.icontains(text, autoescape=True), said))
        with self._work() as work:
            found = work.execute(wanted.order_by(CONVERSATIONS.c.changed.desc()).limit(most))
            return [Summary(one.id, one.name, _time(one.changed)) for one in found]

    def read(self, owner: str, conversation: str) -> Conversation:
        """A whole conversation. Raises MissingError."""
        with self._work() as work:
            found = work.execute(_own(sa.select(CONVERSATIONS), owner, conversation)).one_or_none()
            if found is None:
                raise MissingError(conversation)
            rows = work.execute(
                sa.select(MESSAGES).where(MESSAGES.c.conversation == conversation).order_by(MESSAGES.c.place)
            )
            messages = {one.id: _message(one) for one in rows}
        return Conversation(found.id, found.name, found.leaf, dict(found.settings), messages)

    def add(self, owner: str, conversation: Conversation, message: Message) -> None:
        """Append a message, which becomes the end of the shown branch; the first one makes the conversation.

        Raises MissingError if it was deleted meanwhile, for a message that is not its first.
        """
        text = message.content or next((one["name"] for one in message.documents), "")
        name = name_of(text) if conversation.name == UNNAMED else conversation.name
        with self._work() as work:
            if message.parent is None and not self._has(work, owner, conversation.id):
                work.execute(
                    sa.insert(CONVERSATIONS).values(
                        id=conversation.id, owner=owner, name=name, changed=now().timestamp(), settings={}
                    )
                )
            self._change(work, owner, conversation.id, leaf=message.id, settings=conversation.settings)
            work.execute(sa.insert(MESSAGES).values(conversation=conversation.id, **_columns(message)))
        conversation.name, conversation.leaf = name, message.id
        conversation.messages[message.id] = message

    def replace(self, owner: str, conversation: Conversation, message: Message) -> None:
        """Write a message anew: a reply that was continued, or rated. Raises MissingError."""
        with self._work() as work:
            self._change(work, owner, conversation.id)
            work.execute(sa.update(MESSAGES).where(MESSAGES.c.id == message.id).values(**_columns(message)))
        conversation.messages[message.id] = message

    def show(self, owner: str, conversation: Conversation, leaf: str) -> None:
        """Show another branch. Raises MissingError."""
        with self._work() as work:
            self._change(work, owner, conversation.id, leaf=leaf)
        conversation.leaf = leaf

    def rename(self, owner: str, conversation: str, name: str) -> None:
        """Give another name. Raises MissingError."""
        with self._work() as work:
            self._change(work, owner, conversation, name=name_of(name))

    def delete(self, owner: str, conversation: str) -> None:
        """Delete a conversation with its messages; one that is not there is none of them."""
        with self._work() as work:
            work.execute(_own(sa.delete(CONVERSATIONS), owner, conversation))

    def take(self, owner: str, conversation: Conversation) -> None:
        """Keep a conversation that was kept elsewhere, or what was added to it there."""
        with self._work() as work:
            if not self._has(work, owner, conversation.id):
                new = {"id": conversation.id, "owner": owner, "name": conversation.name, "settings": {}}
                work.execute(sa.insert(CONVERSATIONS).values(**new, changed=now().timestamp()))
            known = sa.select(MESSAGES.c.id).where(MESSAGES.c.conversation == conversation.id)
            there = set(work.execute(known).scalars())
            for one in conversation.messages.values():
                if one.id not in there:
                    work.execute(sa.insert(MESSAGES).values(conversation=conversation.id, **_columns(one)))
            self._change(work, owner, conversation.id, leaf=conversation.leaf, settings=conversation.settings)

    @contextlib.contextmanager
    def _work(self) -> Iterator[sa.Connection]:
        """A transaction: all of it, or nothing."""
        with self._turn:
            try:
                with self._engine.begin() as work:
                    yield work
            except (SQLAlchemyError, ValueError) as error:  # ValueError: what is no JSON where JSON belongs
                said = str(getattr(error, "orig", None) or error)
                reason = next((text for sign, text in REASONS.items() if sign in said), " ".join(said.split())[:100])
                raise NotKeptError(f"{self._name}: {reason}") from error

    def _migrate(self, work: sa.Connection) -> None:
        version = work.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version > VERSION:
            raise NotKeptError(
                f"{self._name}: a newer version of Project-DL wrote it (schema {version}, known here: {VERSION})"
            )
        TABLES.create_all(work)
        if version < VERSION:
            work.exec_driver_sql(f"PRAGMA user_version = {VERSION}")

    def _has(self, work: sa.Connection, owner: str, conversation: str) -> bool:
        return work.execute(_own(sa.select(CONVERSATIONS.c.id), owner, conversation)).first() is not None

    def _change(self, work: sa.Connection, owner: str, conversation: str, **values: Any) -> None:
        changed = _own(sa.update(CONVERSATIONS), owner, conversation).values(changed=now().timestamp(), **values)
        if work.execute(changed).rowcount == 0:
            raise MissingError(conversation)


def _prepare(connection: Any, _record: Any) -> None:
    """Readers and a writer at once; a power cut costs the last message at most, never the file."""
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _own(statement: Any, owner: str, conversation: str) -> Any:
    return statement.where(CONVERSATIONS.c.owner == owner, CONVERSATIONS.c.id == conversation)


def _columns(message: Message) -> dict[str, Any]:
    return {
        **{name: getattr(message, name) for name in ("id", "parent", "role", "content", "rating", "comment")},
        "documents": _plain(message.documents),
        "facts": dict(message.facts),
        "at": message.at.timestamp(),
    }


def _plain(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(one) for one in documents]


def _message(row: Any) -> Message:
    return Message(
        row.role,
        row.content,
        row.parent,
        tuple(row.documents),
        row.facts,
        row.rating,
        row.comment,
        row.id,
        _time(row.at),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
