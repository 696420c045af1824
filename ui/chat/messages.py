"""The open conversation on the page: its messages, the branches at them, and what can be done with the last ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from ui.answers.answer import Asked
from ui.answers.history import history
from ui.answers.rating import draw_rating
from ui.chat import session
from ui.chat.asking import TASK, Asker
from ui.conversations.conversation import Conversation, Message, row_of
from ui.panels.chat import remarks
from ui.plain import escaped
from ui.rich_text import LONGEST, rich

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
        pair = _pair(conversation, message) if last else []
        if pair:
            _draw_pair(conversation, pair)
            continue
        with st.chat_message(message.role):
            if st.session_state.get(session.EDITING) == message.id and not busy:
                _draw_editor(message, asker)
                continue
            draw_documents(message)
            draw_text(message.content, message.id)
            if message.role == "assistant":
                draw_facts(message.facts)
            _draw_row(conversation, message, asker, last=last, busy=busy)


def draw_text(text: str, key: str) -> None:
    """A message as Markdown; of one that is too long its beginning, and a file with all of it."""
    if len(text) <= LONGEST:
        st.markdown(rich(text) or "The model said nothing.")
        return
    st.markdown(escaped(text[:LONGEST]))
    st.caption(f"The first {LONGEST:,} of {len(text):,} characters.")
    st.download_button("Download all of it", text, f"message-{key[:8]}.txt", key=f"chat-all-{key}", on_click="ignore")


def draw_documents(message: Message) -> None:
    """What was dropped into a message: its text, and how much of it the model is given."""
    for one in message.documents:
        text, used = one["text"], one.get("used")
        with st.expander(escaped(one["name"]), icon=":material/description:"):
            st.text(text[:LONGEST] + ("…" if len(text) > LONGEST else ""))
        notes = list(one.get("notes", ()))
        if used is not None and used < len(text):
            notes.append(f"Only the first {used:,} of {len(text):,} characters fit into the model's window.")
        if notes:
            st.caption(escaped(" ".join(notes)))


def draw_facts(facts: Mapping[str, Any]) -> None:
    """What a reply took, how full the model's window is, and what it did not see or say."""
    said = [("stopped · " if facts.get("stopped") else "") + str(facts.get("said", ""))]
    window, prompt = facts.get("window"), facts.get("prompt_tokens")
    if window and prompt is not None:
        used = prompt + (facts.get("tokens") or 0)
        said.append(f"context {used:,} of {window:,} tokens ({used / window:.0%})")
    said += remarks(facts)
    if facts.get("unknown"):
        said.append(f"This model does not know: {', '.join(facts['unknown'])}.")
    st.caption("  \n".join(escaped(line) for line in said if line))


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
            on_click=_show,
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
        help="With the next seed, and some temperature; the other replies stay.",
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
        kept = held[identity] = _asked(conversation, message, identity)

    def rated(asked: Asked) -> None:
        changed = replace(message, rating=asked.rating, comment=asked.comment)
        session.write(lambda store, me, conversation: store.replace(me, conversation, changed))

    draw_rating(kept, "chat", rated)


def _asked(conversation: Conversation, message: Message, identity: str) -> Asked:
    """A kept reply as an answer of this session."""
    facts = message.facts
    system = conversation.settings.get("system", "")
    return Asked(
        id=identity,
        at=message.at,
        task=TASK,
        reference=facts.get("reference", ""),
        model=facts.get("model", ""),
        row=row_of(conversation.path(message.parent), system) if message.parent else {"messages": []},
        parameters=dict(facts.get("parameters", {})),
        result={"reply": message.content},
        seconds=facts.get("seconds", 0.0),
        tokens=facts.get("tokens"),
        stopped=bool(facts.get("stopped")),
        rating=message.rating,
        comment=message.comment,
    )


def _pair(conversation: Conversation, message: Message) -> list[Message]:
    """The replies that were written side by side with the last one, if there are such."""
    pair = message.facts.get("pair")
    both = [one for one in conversation.siblings(message) if pair and one.facts.get("pair") == pair]
    return both if len(both) > 1 else []


def _draw_pair(conversation: Conversation, pair: Sequence[Message]) -> None:
    for column, message in zip(st.columns(len(pair)), pair, strict=True):
        with column, st.chat_message("assistant"):
            st.markdown(f"**{escaped(str(message.facts.get('model', '')))}**")
            draw_text(message.content, message.id)
            draw_facts(message.facts)
            chosen = conversation.leaf == message.id
            st.button(
                "The conversation goes on with this one" if chosen else "Go on with this one",
                key=f"chat-choose-{message.id}",
                type="tertiary",
                disabled=chosen,
                on_click=_show,
                args=(message.id,),
            )


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


def _show(identity: str) -> None:
    session.write(lambda store, me, conversation: store.show(me, conversation, conversation.newest_leaf(identity)))
