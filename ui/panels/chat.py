"""Chat on the page: a conversation in bubbles, which can be sent on, answered again, edited and cleared."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from tasks.json_files import parse_json
from ui.panels.base import Example, Panel, text_field, text_of
from ui.plain import escaped

NEXT_SEED = 1
LONGEST = 20_000  # characters of a message


def _openings(*messages: tuple[str, str]) -> tuple[Example, ...]:
    """Conversations that begin with a message of the person, by their labels."""
    return tuple(Example(label, {"messages": [{"role": "user", "content": text}]}) for label, text in messages)


class ChatPanel(Panel):
    """A conversation in, the next reply out.

    The session holds the messages up to the last one of the person; the reply to it, which the page draws below them,
    joins them when the next message is sent.
    """

    about = "Talk with a model. It sees the whole conversation, as far back as its window has room."
    examples = _openings(
        ("A tip for a rainy day", "What can I do on a rainy day without spending money?"),
        ("Explain overfitting", "Explain overfitting to a beginner in three sentences."),
        ("A short poem", "Write a poem of four lines about the sea."),
    )
    has_entry = True

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        messages = read_messages(row.get("messages"))
        system = messages.pop(0)["content"] if messages and messages[0]["role"] == "system" else ""
        st.session_state[f"{key}-system"] = system
        st.session_state[f"{key}-messages"] = messages
        st.session_state[f"{key}-reply"] = st.session_state[f"{key}-editing"] = None

    def row(self, key: str) -> dict[str, Any]:
        with st.expander("System prompt", icon=":material/psychology:"):
            text_field(
                "What the model is told before the conversation",
                f"{key}-system",
                height=80,
                placeholder="You are a friendly teacher who answers in short sentences.",
            )
        return self._row(st.session_state.get(f"{key}-messages", []), key)

    def belongs(self, asked: Row, row: Row) -> bool:
        return _talk(asked) == _talk(row)

    def answered(self, row: Row, text: str, key: str) -> None:
        # Side by side the first model's reply goes on; a later one to the same messages is only shown.
        if text.strip() and _talk(row) == st.session_state.get(f"{key}-messages") and not _reply(key):
            st.session_state[f"{key}-reply"] = text

    def draw_above(self, row: Row, key: str) -> None:
        """The bubbles up to the last message of the person."""
        messages = _talk(row)
        for number, message in enumerate(messages):
            with st.chat_message(message["role"]):
                if number == len(messages) - 1 and st.session_state.get(f"{key}-editing"):
                    self._draw_editor(message["content"], messages[:-1], key)
                else:
                    st.markdown(escaped(message["content"]))

    def draw_coming(self, row: Row, events: Sequence[Row], key: str) -> None:  # noqa: ARG002
        with st.chat_message("assistant"):
            st.markdown(escaped(text_of(events)) or "…")

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        with st.chat_message("assistant"):
            st.markdown(escaped(result["reply"]) or "The model said nothing.")
            if result["dropped_messages"]:
                st.caption(f"The model did not see the {result['dropped_messages']} oldest messages: no room.")
            if not result.get("system_seen", True):
                st.caption("This model's chat template has no place for a system prompt: the model did not see yours.")
            if result["finish_reason"] == "length":
                st.caption("It ended at the length limit: raise max new tokens to hear more.")

    def begins(self, key: str) -> bool:
        return not st.session_state.get(f"{key}-messages")

    def draw_buttons(self, row: Row, key: str, *, busy: bool) -> None:
        if _talk(row):
            st.button(
                "Regenerate",
                key=f"{key}-again",
                icon=":material/refresh:",
                disabled=busy,
                on_click=self._again,
                args=(row, key),
                help="With the next seed.",
            )
            st.button(
                "Edit last message",
                key=f"{key}-edit",
                icon=":material/edit:",
                disabled=busy,
                on_click=_edit,
                args=(key,),
            )
            st.button("Clear", key=f"{key}-clear", icon=":material/delete:", on_click=self._clear, args=(key,))

    def entry(self, key: str, *, busy: bool) -> None:
        st.chat_input(
            "Your message", key=f"{key}-entry", disabled=busy, max_chars=LONGEST, on_submit=self._send, args=(key,)
        )

    def _send(self, key: str) -> None:
        text = st.session_state.get(f"{key}-entry")
        if not text or not text.strip():
            return
        messages = list(st.session_state.get(f"{key}-messages", []))
        if _reply(key):
            messages.append({"role": "assistant", "content": _reply(key)})
        if messages and messages[-1]["role"] == "user":  # without an answer: templates want turns to take turns
            text = f"{messages.pop()['content']}\n\n{text}"
        self._ask([*messages, {"role": "user", "content": text}], key)

    def _ask(self, messages: list[dict[str, str]], key: str, **changed: Any) -> None:
        if self.ask is not None:
            self.ask(self._row(messages, key), **changed)

    def _again(self, row: Row, key: str) -> None:
        seed = self.specs["seed"]
        used = st.session_state.get(f"{key}-set-seed", seed["default"])
        self._ask(_talk(row), key, seed=(used + NEXT_SEED) % seed["maximum"])

    def _clear(self, key: str) -> None:
        self.fill(self._row([], key), key)

    def _resend(self, before: list[dict[str, str]], key: str) -> None:
        text = st.session_state.get(f"{key}-edited") or ""
        if text.strip():
            self._ask([*before, {"role": "user", "content": text}], key)

    def _draw_editor(self, text: str, before: list[dict[str, str]], key: str) -> None:
        changed = st.text_area("Your last message", text, key=f"{key}-edited", max_chars=LONGEST)
        with st.container(horizontal=True):
            st.button(
                "Send again",
                key=f"{key}-resend",
                type="primary",
                disabled=not changed.strip(),
                on_click=self._resend,
                args=(before, key),
            )
            st.button("Cancel", key=f"{key}-leave", on_click=_edit, args=(key, False))

    def _row(self, messages: list[dict[str, str]], key: str) -> dict[str, Any]:
        system = st.session_state.get(f"{key}-system") or ""
        opening = [{"role": "system", "content": system}] if system.strip() else []
        return {"messages": [*opening, *messages]}


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


def _talk(row: Row) -> list[dict[str, str]]:
    """The messages of a row without the system's."""
    return [message for message in row["messages"] if message["role"] != "system"]


def _reply(key: str) -> str:
    return st.session_state.get(f"{key}-reply") or ""


def _edit(key: str, wanted: bool = True) -> None:
    st.session_state[f"{key}-editing"] = wanted
