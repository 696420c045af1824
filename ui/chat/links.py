"""The address of the page, and the notes above the conversation.

`?conversation=` opens one of the visitor's own, `?model=` chooses. Nobody's id stands there: links are shared.
"""

from collections.abc import Collection

import streamlit as st

from ui.chat import session
from ui.chat.asking import Asker
from ui.chat.sidebar import open_conversation
from ui.conversations.conversation import Conversation, Message, name_of
from ui.panels.chat import REUSED, read_messages
from ui.plain import escaped


def follow_link(models: Collection[str]) -> None:
    """Open what the address names, where that is new; and what the history gives to be used again."""
    reused = read_messages(st.session_state.pop(REUSED, None))
    if reused:
        _begin_with(reused)
        return
    link = (st.query_params.get("conversation"), st.query_params.get("model"))
    if link == st.session_state.get(session.LINK):
        return
    conversation, model = link
    if conversation and conversation != session.opened().id and not open_conversation(conversation):
        session.tell("This browser has no such conversation: it was deleted, or belongs to another browser.")
    if model in models:
        st.session_state[session.MODEL] = model


def name_link(asker: Asker) -> None:
    """Have the address name what is open, so that a reload shows it again."""
    conversation = session.opened()
    kept = conversation.messages and not session.not_kept() and not st.session_state.get(session.TEMPORARY)
    names = {
        **({"conversation": conversation.id} if kept else {}),
        **({"model": asker.versions[0].key} if asker.versions else {}),
    }
    st.session_state[session.LINK] = (names.get("conversation"), names.get("model"))
    st.query_params.from_dict(names)


def draw_notes() -> None:
    """Say what is kept, where that is not everything, and what is to be said once."""
    told = session.told()
    if told:
        st.warning(escaped(told), icon=":material/info:")
    reason = session.not_kept()
    if reason:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(escaped(f"Nothing is kept: {reason}."), icon=":material/cloud_off:", width="stretch")
            st.button("Try again", key="chat-keep-again", on_click=session.try_again)
    elif st.session_state.get(session.TEMPORARY):
        st.caption(":material/visibility_off: Temporary chat: it is not kept.")


def _begin_with(messages: list[dict[str, str]]) -> None:
    """A new conversation with messages of an old one."""
    session.begin()
    system = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else ""
    st.session_state[session.SYSTEM] = system
    parent: str | None = None
    conversation = Conversation(name=name_of(messages[0]["content"] if messages else ""), settings={"system": system})
    for one in messages:
        message = Message(one["role"], one["content"], parent)
        conversation.messages[message.id] = message
        parent = conversation.leaf = message.id
    st.session_state[session.OPEN] = conversation
    session.write(lambda store, me, taken: store.take(me, taken))
