"""Replies that are being written: the server's, not a page's, so that a reload finds them and loses nothing.

Each is kept by a thread of its own when it is over, also the beginning of one that was stopped. No Streamlit here.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.chat import MessagesTooLongError
from tasks.runtime.jobs import JobCancelled
from ui.answers.asking import Asking
from ui.conversations.conversation import Conversation, Message
from ui.conversations.store import ConversationStore, MissingError, NotKeptError

LEFT_S = 60.0  # a reply not looked at for this long: the visitor has left, and others may want the model
LOOK_S = 1.0
MOST_TRIES = 4  # to cut a document to the model's window
LEFT = "cancelled: the visitor left"

logger = logging.getLogger(__name__)


@dataclass
class Reply:
    """A reply on its way.

    Attributes:
        parent: the id of the message that it answers.
        extends: the reply that it continues, if it does.
        pair: what replies to one message side by side have in common; `side` is the place of this one among them.
        looked: when a page last looked at it, on the monotonic clock.
        message: what was written, once it is over; None of one that failed before it began.
        unkept: the store did not take it; the page that looks keeps it elsewhere.
        shorten: gives another asking where the first one was too long for the model; None where it cannot be shorter.
        over: set when it is over, and kept as far as it can be.
    """

    asking: Asking
    parent: str
    extends: Message | None = None
    pair: str = ""
    side: int = 0
    looked: float = field(default_factory=time.monotonic)
    message: Message | None = None
    unkept: bool = False
    shorten: Callable[[MessagesTooLongError], Asking | None] = lambda _: None
    over: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def look(self, wait: float = 0.0) -> None:
        """Take in what has come, waiting up to `wait` seconds for the first of it, or for the end."""
        self.looked = time.monotonic()
        self.asking.await_news(wait)
        with self._turn:
            self.asking.update()

    def text(self) -> str:
        """What there is of the message."""
        return (self.extends.content if self.extends else "") + self.asking.text

    def finish(self) -> None:
        """Wait for the end, and make the message of it; cancel it when the visitor has left."""
        for _ in range(MOST_TRIES):
            self._await_end()
            error = self.asking.error
            shorter = self.shorten(error) if isinstance(error, MessagesTooLongError) else None
            if shorter is None:
                break
            self.asking = shorter
        if self.asking.result is not None or self.asking.text:
            self.message = self._message()

    def _await_end(self) -> None:
        while not self.asking.over:
            self.asking.await_end(LOOK_S)
            if time.monotonic() - self.looked > LEFT_S:
                self.asking.job.cancel(LEFT)
            with self._turn:
                self.asking.update()

    def _message(self) -> Message:
        asking, result = self.asking, dict(self.asking.result or {})
        written = result.pop("reply", self.asking.text)
        facts: dict[str, Any] = {
            **result,
            "model": asking.model,
            "reference": asking.reference,
            "parameters": asking.parameters,
            "asked": asking.id,
            "said": asking.facts(),
            "stopped": asking.result is None,
        }
        if self.pair:
            facts |= {"pair": self.pair, "side": self.side, "blind": asking.hidden}
        if self.extends:
            return replace(self.extends, content=self.extends.content + written, facts=facts, rating=None, comment="")
        return Message("assistant", written, self.parent, facts=facts, id=asking.id)


class Replies:
    """The replies of all visitors that are being written, or failed and were not asked again. One a server."""

    def __init__(self) -> None:
        self._of: dict[str, list[Reply]] = {}
        self._turn = threading.Lock()

    def of(self, conversation: str) -> list[Reply]:
        """The replies of a conversation, in the order in which they were asked."""
        with self._turn:
            return list(self._of.get(conversation, ()))

    def start(self, store: ConversationStore, owner: str, conversation: Conversation, reply: Reply) -> None:
        """Follow a reply to its end, and keep it."""
        with self._turn:
            self._of.setdefault(conversation.id, []).append(reply)
        known = Conversation(conversation.id, conversation.name, conversation.leaf, dict(conversation.settings))
        threading.Thread(target=self._follow, args=(store, owner, known, reply), name="chat-reply", daemon=True).start()

    def drop(self, conversation: str, reply: Reply | None = None) -> None:
        """Forget a reply that is over, or all of a conversation that are."""
        with self._turn:
            left = [one for one in self._of.get(conversation, ()) if not (one.over.is_set() and reply in (None, one))]
            if left:
                self._of[conversation] = left
            else:
                self._of.pop(conversation, None)

    def _follow(self, store: ConversationStore, owner: str, conversation: Conversation, reply: Reply) -> None:
        try:
            reply.finish()
            if reply.message is not None:
                keep(store, owner, conversation, reply)
        except MissingError:  # it was deleted meanwhile
            reply.message = None
        except NotKeptError:
            reply.unkept = True
        except Exception:
            reply.unkept = True
            logger.exception("the reply %s was not kept", reply.asking.id)
        finally:
            reply.over.set()
        if reply.message is None and (reply.asking.error is None or isinstance(reply.asking.error, JobCancelled)):
            self.drop(conversation.id, reply)


def keep(store: ConversationStore, owner: str, conversation: Conversation, reply: Reply) -> None:
    """Write the message of a reply that is over. Raises NotKeptError, MissingError."""
    if reply.message is None:
        return
    if reply.extends:
        store.replace(owner, conversation, reply.message)
    else:
        store.add(owner, conversation, reply.message)
