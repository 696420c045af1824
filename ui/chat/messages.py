"""The open conversation on the page: its messages, the branches at them, and what can be done with the last ones."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ui.answers.answer import Asked
from ui.answers.history import history
from ui.answers.rating import draw_rating
from ui.chat import session
from ui.chat.asking import Asker
from ui.chat.message import asked_of, draw_documents, draw_facts, draw_text
from ui.chat.pairs import draw_pair, pair_of
from ui.conversations.conversation import Conversation, Message

MOST = 20_000  # characters that may be typed into a message
SHOWN = 20  # messages at first, and more at each click: a browser takes long to draw a hundred
EARLIER = "chat-earlier-shown"
RATED = "chat-rated"  # replies of earlier sessions as the controls for ratings hold them


def draw_messages(conversation: Conversation, asker: Asker, *, busy: bool) -> None:
    """Draw the shown branch. While a reply is being written, nothing of it can be changed."""
    path = conversation.path()
    shown = path[-st.session_state.get(EARLIER, {}).get(conversation.id, SHOWN) :]
    if len(shown) < len(path):
        st.button(
            f"Show {min(SHOWN, len(path) - len(shown))} earlier messages",
            key="chat-earlier",
            icon=":material/expand_less:",
            type="tertiary",
            on_click=st.session_state.__setitem__,
            args=(EARLIER, {conversation.id: len(shown) + SHOWN}),
        )
    # Those that are drawn with what is coming: continued, or over before the one beside them.
    coming = {
        one.id for reply in session.replies().of(conversation.id) for one in (reply.extends, reply.message) if one
    }
    for message in shown:
        if message.id in coming:
            continue
        last = message is path[-1] and not busy
        pair = pair_of(conversation, message) if last else []
        if pair:
            draw_pair(conversation, pair)
            continue
        with st.chat_message(message.role):
            if st.session_state.get(session.EDITING) == message.id and not busy:
                _draw_editor(message, asker)
                continue
            draw_documents(message)
            draw_text(message.content, message.id)
            if message.role == "assistant" and not message.undecided:
                draw_facts(message.facts)
            _draw_row(conversation, message, asker, last=last, busy=busy)


def _draw_row(conversation: Conversation, message: Message, asker: Asker, *, last: bool, busy: bool) -> None:
    """The small controls below a message: its branches, and what makes new ones."""
    branches = conversation.siblings(message)
    user = message.role == "user"
    if len(branches) < 2 and not user and not last:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if len(branches) > 1:
            _draw_branches(branches, message, busy=busy)
        if user:
            st.button(
                "Edit",
                key=f"chat-edit-{message.id}",
                icon=":material/edit:",
                type="tertiary",
                disabled=busy,
                on_click=_edit,
                args=(message.id,),
            )
        if last and asker.versions:
            _draw_last(message, asker)
    if last and not user:
        _draw_rating(conversation, message)


def _draw_branches(branches: Sequence[Message], message: Message, *, busy: bool) -> None:
    place = branches.index(message)
    for text, icon, other in (("Previous version", "left", place - 1), ("Next version", "right", place + 1)):
        if icon == "right":
            st.caption(f"{place + 1}/{len(branches)}", width="content")
        within = 0 <= other < len(branches)
        st.button(
            "‹" if icon == "left" else "›",
            key=f"chat-{icon}-{message.id}",
            type="tertiary",
            help=text,
            disabled=busy or not within,
            on_click=session.show,
            args=(branches[other].id if within else message.id,),
        )


def _draw_last(message: Message, asker: Asker) -> None:
    """What can be done with the end of a conversation."""
    parent = message.id if message.role == "user" else message.parent
    st.button(
        "Regenerate" if message.role == "assistant" else "Reply",
        key="chat-again",
        icon=":material/refresh:",
        type="tertiary",
        on_click=asker.again,
        args=(parent,),
        help="Uses the next seed and a temperature above 0; the other replies are kept.",
    )
    cut = message.facts.get("finish_reason") == "length" or message.facts.get("stopped")
    if message.role == "assistant" and cut and message.content.strip():
        st.button(
            "Continue",
            key="chat-continue",
            icon=":material/play_arrow:",
            type="tertiary",
            on_click=asker.proceed,
            args=(message,),
        )


def _draw_rating(conversation: Conversation, message: Message) -> None:
    identity = message.facts.get("asked", message.id)
    held: dict[str, Asked] = st.session_state.setdefault(RATED, {})
    kept = next((one for one in history() if one.id == identity), None) or held.get(identity)
    if kept is None:
        kept = held[identity] = asked_of(conversation, message)

    def rated(asked: Asked) -> None:
        changed = replace(message, rating=asked.rating, comment=asked.comment)
        session.write(lambda store, me, conversation: store.replace(me, conversation, changed))

    draw_rating(kept, "chat", rated)


def _draw_editor(message: Message, asker: Asker) -> None:
    key = f"chat-edited-{message.id}"
    changed = st.text_area("Your message", message.content, key=key, max_chars=max(MOST, len(message.content)))
    with st.container(horizontal=True):
        st.button(
            "Send",
            key="chat-resend",
            type="primary",
            disabled=not asker.versions,
            on_click=_resend,
            args=(message, key, asker),
        )
        st.button("Cancel", key="chat-leave", on_click=_edit, args=(None,))
    if not changed.strip():
        st.caption("An empty message is not sent.")


def _resend(message: Message, key: str, asker: Asker) -> None:
    text = st.session_state.get(key) or ""
    if text.strip() or message.documents:
        asker.say(text, message.parent, message.documents)


def _edit(identity: str | None) -> None:
    st.session_state[session.EDITING] = identity
