"""Chat beside the other tasks: it has a page of its own; here are its examples, and a reply as the history shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from tasks.json_files import parse_json
from ui.panels.base import Example, Panel, text_of
from ui.plain import escaped
from ui.rich_text import rich

REUSED = "chat-reused"  # messages from the history, for the page


def _openings(*messages: tuple[str, str]) -> tuple[Example, ...]:
    """Conversations that begin with a message of the user, by their labels."""
    return tuple(Example(label, {"messages": [{"role": "user", "content": text}]}) for label, text in messages)


class ChatPanel(Panel):
    """A conversation in, the next reply out."""

    purpose = "Talk with a language model."
    batch_hint = "Each row is a conversation of its own: `message`, and `system` if you like; or `messages` as JSON."
    about = "Talk with a model. It sees the whole conversation, as far back as its window has room."
    examples = _openings(
        ("A tip for a rainy day", "What can I do on a rainy day without spending money?"),
        ("Explain overfitting", "Explain overfitting to a beginner in three sentences."),
        ("A short poem", "Write a poem of four lines about the sea."),
    )
    page = "views/chat.py"

    def fill(self, row: Mapping[str, Any], key: str) -> None:  # noqa: ARG002
        st.session_state[REUSED] = row.get("messages")

    def is_filled(self) -> bool:
        return bool(st.session_state.get(REUSED))

    def draw_coming(self, row: Row, events: Sequence[Row], key: str) -> None:  # noqa: ARG002
        with st.chat_message("assistant"):
            st.markdown(rich(text_of(events)) or "…")

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        with st.chat_message("assistant"):
            st.markdown(rich(result["reply"]) or "The model said nothing.")
            for line in remarks(result):
                st.caption(escaped(line))


def remarks(result: Row) -> list[str]:
    """What a reply did not see or say, a line each."""
    lines = []
    if result.get("dropped_messages"):
        lines.append(f"The model did not see the {result['dropped_messages']} oldest messages: no room.")
    if not result.get("system_seen", True):
        lines.append("This model's chat template has no place for a system prompt: the model did not see yours.")
    if result.get("finish_reason") == "length":
        lines.append("It reached the length limit; raise Max new tokens for a longer reply.")
    return lines


def read_messages(value: Any) -> list[dict[str, str]]:
    """A conversation as a row holds it, also as JSON; none for what is no conversation."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return []
    if not isinstance(value, list):
        return []
    return [{"role": one["role"], "content": one["content"]} for one in value]
