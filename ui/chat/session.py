"""What the chat page keeps of a visitor: who they are, where their conversations are kept, and which one is open."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ui.chat.replies import Replies, Reply, keep
from ui.conversations.conversation import Conversation, Message, Summary
from ui.conversations.owner import owner_of
from ui.conversations.store import ConversationStore, MissingError, NotKeptError, conversations_file

# Keys of the session's state.
OPEN, MEMORY, NOT_KEPT, TEMPORARY = "chat-open", "chat-memory", "chat-not-kept", "chat-temporary"
EDITING, TOLD, LINK = "chat-editing", "chat-told", "chat-link"
SYSTEM, MODEL, SETTINGS = "chat-system", "chat-model", "chat-set"  # of controls
NO_COOKIE = "this browser sends no cookie of the tool; start it with `make ui`"
VISITOR = "visitor"  # owns what only this session's memory has


@st.cache_resource(show_spinner=False, on_release=ConversationStore.close)
def _kept(file: str) -> ConversationStore:
    return ConversationStore(Path(file))


@st.cache_resource(show_spinner=False)
def replies() -> Replies:
    """The server's replies that are being written."""
    return Replies()


def owner() -> str | None:
    """Who this browser is; None where it sends no cookie."""
    return owner_of(st.context.cookies)


def not_kept() -> str | None:
    """Why nothing is kept, where that is not the visitor's wish."""
    return st.session_state.get(NOT_KEPT)


def place() -> tuple[ConversationStore, str]:
    """Where the open conversation is kept, and whose it is: this session's memory where nothing is kept."""
    me = owner()
    if me is None:
        st.session_state[NOT_KEPT] = NO_COOKIE
    if me is not None and not not_kept() and not st.session_state.get(TEMPORARY):
        try:
            return _kept(str(conversations_file())), me
        except NotKeptError as error:
            _give_up(error)
    return _memory(), VISITOR


def try_again() -> None:
    """Look anew whether conversations can be kept; what this session's memory has goes into the store then."""
    conversation = opened()
    st.session_state.pop(NOT_KEPT, None)
    if conversation.messages and not st.session_state.get(TEMPORARY):
        write(lambda store, who, _: store.take(who, conversation))


def listed(search: str) -> list[Summary]:
    """This visitor's conversations, the last changed one first."""
    store, me = place()
    try:
        return store.listed(me, search)
    except NotKeptError as error:
        _give_up(error)
        return []


def opened() -> Conversation:
    """The open conversation as this session knows it."""
    return st.session_state.setdefault(OPEN, Conversation())


def refresh() -> None:
    """Read the open conversation again: another tab, or a reply that is over, may have changed it."""
    conversation = opened()
    store, me = place()
    if not conversation.messages:
        return
    try:
        st.session_state[OPEN] = store.read(me, conversation.id)
    except NotKeptError as error:
        _give_up(error)
    except MissingError:
        tell("This conversation was deleted in another window.")
        begin()


def begin(temporary: bool | None = None) -> None:
    """Open a new conversation; it is kept with its first message. The settings stay."""
    if temporary is not None:
        st.session_state[TEMPORARY] = temporary
    st.session_state[OPEN] = Conversation()
    st.session_state[EDITING] = None


def open_kept(conversation: str) -> bool:
    """Open one of this visitor's conversations; False if there is none with this id that is theirs."""
    before = st.session_state.get(TEMPORARY)
    st.session_state[TEMPORARY] = False
    store, me = place()
    try:
        found = store.read(me, conversation)
    except MissingError:
        st.session_state[TEMPORARY] = before
        return False
    except NotKeptError as error:
        _give_up(error)
        return False
    st.session_state[OPEN], st.session_state[EDITING] = found, None
    return True


def write(act: Callable[[ConversationStore, str, Conversation], None]) -> bool:
    """Change the open conversation where it is kept; where that fails, in memory, with a note.

    False if it was deleted meanwhile.
    """
    for _ in range(2):
        store, me = place()
        try:
            act(store, me, opened())
        except NotKeptError as error:
            _give_up(error)
        except MissingError:
            tell("This conversation was deleted in another window.")
            begin()
            return False
        else:
            return True
    return False


def add(message: Message) -> bool:
    """Append a message to the open conversation."""
    return write(lambda store, me, conversation: store.add(me, conversation, message))


def show(identity: str) -> None:
    """Show the branch of the open conversation that a message is in."""
    write(lambda store, me, conversation: store.show(me, conversation, conversation.newest_leaf(identity)))


def keep_finished(reply: Reply) -> None:
    """Take in a reply that is over, and keep it here if its own store did not."""
    if reply.unkept:
        reply.unkept = False
        write(lambda store, me, conversation: keep(store, me, conversation, reply))
    if reply.asking.error is None or reply.message is not None:
        replies().drop(opened().id, reply)


def busy() -> bool:
    """Whether a reply of the open conversation is being written."""
    return any(not one.over.is_set() for one in replies().of(opened().id))


def stop() -> None:
    """Stop the replies of the open conversation: before their next token. What there is of them is kept."""
    for one in replies().of(opened().id):
        one.asking.stop()


def tell(text: str) -> None:
    """Say something once, at the next drawing."""
    st.session_state[TOLD] = text


def told() -> str | None:
    """What is to be said once."""
    return st.session_state.pop(TOLD, None)


def _memory() -> ConversationStore:
    if MEMORY not in st.session_state:
        st.session_state[MEMORY] = ConversationStore(None)
    return st.session_state[MEMORY]


def _give_up(error: NotKeptError) -> None:
    """Continue in memory, with the conversation that is open."""
    st.session_state[NOT_KEPT] = str(error)
    conversation: Any = st.session_state.get(OPEN)
    if conversation is not None and conversation.messages:
        _memory().take(VISITOR, conversation)
