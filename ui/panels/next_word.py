"""Next word prediction on the page: the candidates as bars to click, which write on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from tasks.texts import UNSPACED
from ui.panels.base import Example, Panel, text_field
from ui.plain import escaped, escaped_html

# Where no space goes between a text and the word that follows: after white space and opening marks.
JOINED = re.compile(r"[\s(\[{“‘«¿¡]$")
TINT = "rgba(61,125,219,0.3)"  # dark and light text can be read on it, on a dark and a light ground
MUCH = 0.5  # of the probability, that is not among the candidates


class NextWordPanel(Panel):
    """The beginning of a text in, the likeliest words out."""

    purpose = "The words that may come next, with their probabilities."
    about = "The words that most probably come next. Click one to append it and continue."
    examples = (
        Example("Once upon a time", {"text": "Once upon a time there was a"}),
        Example("The capital of", {"text": "The capital of France is"}),
        Example("The dog", {"text": "The little dog ran"}),
    )

    def row(self, key: str) -> dict[str, Any]:
        return {"text": text_field("Text", f"{key}-text", height=90, placeholder="The beginning of a sentence")}

    def draw(self, row: Row, result: Row, key: str) -> None:
        st.html(
            f'<p style="overflow-wrap:anywhere">{escaped_html(row["text"])} '
            f"<strong>{escaped_html(result['next_word'])}</strong></p>"
        )
        if not result["candidates"]:
            st.caption("The model expects no word here, but a mark or the end of the text.")
        if result["truncated"]:
            st.caption("The text was too long; only its end was used.")
        draw_candidates(self, row["text"], result["candidates"], key)
        rest = 1 - sum(one["probability"] for one in result["candidates"])
        if result["candidates"] and rest > MUCH:
            st.caption(f"The other {rest:.0%} are marks, the end of the text, and rarer words.")


def draw_candidates(panel: Panel, text: str, candidates: Sequence[Mapping[str, Any]], key: str) -> None:
    """A button for each word, filled like a bar up to its probability."""
    rules = []
    for number, one in enumerate(candidates):
        name = f"{key}-word-{number}"
        st.button(
            f"{escaped(one['word'])} · {share(one['probability'])}",
            key=name,
            width="stretch",
            disabled=panel.ask is None,
            on_click=panel.ask,
            args=({"text": appended(text, one["word"])},),
        )
        filled = 100 * one["probability"]
        rules.append(
            f".st-key-{name} button{{background-image:linear-gradient(to right,{TINT} {filled:.1f}%,"
            f"transparent {filled:.1f}%)}}.st-key-{name} button>div{{justify-content:flex-start}}"
        )
    if rules:
        st.html(f"<style>{''.join(rules)}</style>")


def share(probability: float) -> str:
    """A probability as it is read: none that is possible is 0.0%."""
    return f"{probability:.1%}" if probability >= 0.0005 else "< 0.1%"


def appended(text: str, word: str) -> str:
    """A text with a word more, and a space between where one belongs."""
    apart = bool(text) and not JOINED.search(text) and not re.match(UNSPACED, word)
    return f"{text}{' ' if apart else ''}{word}"
