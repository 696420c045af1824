"""Questions of the chat page: a message is added, and one model, or two, reply to it."""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import TaskInputError
from tasks.chat import MessagesTooLongError
from tasks.registry import RegisteredVersion
from tasks.runtime.jobs import Job, QueueFullError
from ui.answers.answering import REFUSED, check
from ui.answers.asking import Asking
from ui.chat import session
from ui.chat.replies import Reply
from ui.conversations.conversation import Message, new_id, row_of, shortened
from ui.conversations.store import MissingError, NotKeptError
from ui.session import services

TASK = "chatbot"
SEEDS = 2**32


VARIED = 0.5  # the temperature of a reply that is to be another one


class Asker:
    """What asks the chosen models with the chosen settings; its methods are for callbacks of buttons.

    Attributes:
        versions: the model, and the one beside it where that is wanted; none where none is registered.
        blind: whether two reply in a random order and without their names.
    """

    def __init__(
        self, versions: Sequence[RegisteredVersion], system: str, parameters: Mapping[str, Any], *, blind: bool = False
    ) -> None:
        self.versions, self.system, self.parameters, self.blind = versions, system, dict(parameters), blind

    def say(self, text: str, parent: str | None, documents: Sequence[Mapping[str, Any]] = ()) -> None:
        """Add a message of the user after another one, and have it answered."""
        message = Message("user", text, parent, tuple(documents))
        before = session.opened().path(parent) if parent else []
        session.stop()
        if self._refused([*before, message]):
            return
        st.session_state[session.EDITING] = None
        session.opened().settings = self._settings()
        if session.add(message):
            self._ask(message.id)

    def again(self, parent: str) -> None:
        """Have a message answered once more, with the next seed; the other replies stay as branches.

        Without a temperature the reply would be the same: it gets one.
        """
        self.parameters["temperature"] = self.parameters.get("temperature") or VARIED
        self.parameters["seed"] = ((self.parameters.get("seed") or 0) + 1) % SEEDS
        st.session_state[f"{session.SETTINGS}-seed"] = self.parameters["seed"]
        if not self._refused(session.opened().path(parent)):
            self._ask(parent)

    def proceed(self, reply: Message) -> None:
        """Have the first model write on where a reply ended."""
        if not self._refused(session.opened().path(reply.id)):
            self._ask(reply.parent or "", reply)

    def _ask(self, parent: str, extends: Message | None = None) -> None:
        conversation = session.opened()
        path = conversation.path(extends.id if extends else parent)
        row, submit = row_of(path, self.system), services().submit
        versions = self.versions[:1] if extends else self.versions
        blind = self.blind and len(versions) > 1
        if blind:
            versions = random.sample(versions, len(versions))
        pair = new_id() if len(versions) > 1 else ""
        session.replies().drop(conversation.id)
        store, me = session.place()
        try:
            for side, version in enumerate(versions):
                job = submit(version.key, row, self.parameters)
                asking = Asking.of(job, version, row, self.parameters, hidden=blind)
                reply = Reply(
                    asking, parent, extends, pair, side, shorten=self._shortener(version, path, submit, blind)
                )
                session.replies().start(store, me, conversation, reply)
        except QueueFullError as error:
            st.session_state[REFUSED] = str(error)

    def _shortener(
        self, version: RegisteredVersion, path: list[Message], submit: Callable[..., Job], hidden: bool
    ) -> Callable[[MessagesTooLongError], Asking | None]:
        """What asks a model again with less of the documents in the newest message; for another thread."""
        store, me = session.place()
        conversation, system, parameters = session.opened(), self.system, dict(self.parameters)

        def shorten(error: MessagesTooLongError) -> Asking | None:
            # Half of the window: there is room for the conversation about it.
            cut = shortened(path[-1], error.tokens, error.window // 2)
            if cut is None:
                return None
            path[-1] = cut
            with contextlib.suppress(NotKeptError, MissingError):
                store.replace(me, conversation, cut)
            row = row_of(path, system)
            return Asking.of(submit(version.key, row, parameters), version, row, parameters, hidden)

        return shorten

    def _refused(self, path: Sequence[Message]) -> bool:
        """Whether it cannot be asked; the next drawing shows why."""
        try:
            check(TASK, row_of(list(path), self.system), self.parameters)
        except TaskInputError as error:
            st.session_state[REFUSED] = str(error)
            return True
        return False

    def _settings(self) -> dict[str, Any]:
        keys = [version.key for version in self.versions]
        return {"models": keys, "system": self.system, "parameters": self.parameters}
