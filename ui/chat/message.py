"""One message: its text, its documents, what it took, and the reply as an answer that can be rated."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ui.answers.answer import Asked
from ui.chat.asking import TASK
from ui.conversations.conversation import Conversation, Message, row_of
from ui.panels.chat import remarks
from ui.plain import escaped
from ui.rich_text import LONGEST, rich


def draw_text(text: str, key: str) -> None:
    """A message as Markdown; of one that is too long its beginning, and a file with all of it."""
    if len(text) <= LONGEST:
        st.markdown(rich(text) or "The model said nothing.")
        return
    st.markdown(escaped(text[:LONGEST]))
    st.caption(f"The first {LONGEST:,} of {len(text):,} characters.")
    st.download_button("Download all of it", text, f"message-{key[:8]}.txt", key=f"chat-all-{key}", on_click="ignore")


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


def asked_of(conversation: Conversation, message: Message) -> Asked:
    """A kept reply as an answer of this session."""
    facts = message.facts
    system = conversation.settings.get("system", "")
    return Asked(
        id=facts.get("asked", message.id),
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
