"""The list of conversations: search, open, rename, delete, take along; and the switch that keeps none of this."""

import streamlit as st

from ui.chat import session
from ui.chat.settings import fill_settings
from ui.conversations.conversation import Conversation
from ui.conversations.export import as_json, as_markdown
from ui.plain import escaped, visible

NAME, SEARCH, SWITCH = "chat-name", "chat-search", "chat-temporary-switch"


def draw_sidebar() -> None:
    """Draw the list, the open conversation marked."""
    st.session_state[SWITCH] = bool(st.session_state.get(session.TEMPORARY))
    with st.sidebar:
        st.toggle(
            "Temporary chat",
            key=SWITCH,
            on_change=_switch_temporary,
            help="Begins a conversation that is not kept: it is gone when you leave it or close the page.",
        )
        if session.not_kept():
            return
        search = st.text_input("Search conversations", key=SEARCH, placeholder="Name or text", persist_state="session")
        found = session.listed(search or "")
        if not found:
            st.caption("Nothing found." if search else "Conversations that you begin are listed here.")
        for one in found:
            shown = one.id == session.opened().id
            st.button(
                escaped(one.name),
                key=f"chat-open-{one.id}",
                type="secondary" if shown else "tertiary",
                width="stretch",
                on_click=_open,
                args=(one.id,),
            )
            if shown:
                _draw_menu(session.opened())


def _draw_menu(conversation: Conversation) -> None:
    with st.container(horizontal=True, gap="small"):
        with st.popover("Rename", icon=":material/edit:"):
            st.text_input("Name", conversation.name, key=f"{NAME}-{conversation.id}", max_chars=200)
            st.button("Rename", key="chat-rename", type="primary", on_click=_rename, args=(conversation.id,))
        draw_export(conversation)
        with st.popover("Delete", icon=":material/delete:"):
            st.write("Delete this conversation with all its branches?")
            st.button("Delete it", key="chat-delete", type="primary", on_click=_delete, args=(conversation.id,))


def draw_export(conversation: Conversation) -> None:
    """Downloads of the open conversation, made when they are asked for."""
    with st.popover("Export", icon=":material/download:"):
        for label, make, ending, mime in (
            ("Markdown", as_markdown, "md", "text/markdown"),
            ("JSON", as_json, "json", "application/json"),
        ):
            st.download_button(
                label,
                lambda make=make: visible(make(conversation)) if make is as_markdown else make(conversation),
                f"conversation-{conversation.id[:8]}.{ending}",
                mime,
                key=f"chat-export-{ending}",
                on_click="ignore",
            )


def open_conversation(identity: str) -> bool:
    """Open a conversation with the settings that it continues with; False if this visitor has none with this id."""
    if not session.open_kept(identity):
        return False
    fill_settings(session.opened().settings)
    return True


def _open(identity: str) -> None:
    if not open_conversation(identity):
        session.tell("This conversation was deleted in another window.")


def _switch_temporary() -> None:
    session.begin(temporary=bool(st.session_state[SWITCH]))


def _rename(identity: str) -> None:
    name = st.session_state.get(f"{NAME}-{identity}") or ""
    if name.strip():
        session.write(lambda store, me, _: store.rename(me, identity, name))


def _delete(identity: str) -> None:
    session.stop()
    if session.write(lambda store, me, _: store.delete(me, identity)):
        session.begin()
