"""Sequence reversal on the page: numbers typed, their reverse, whether it is right, and where the network looked."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.panels.base import Example, Panel
from ui.plain import escaped
from ui.results.attention_map import draw_attention
from ui.results.decoding_steps import ALTERNATIVES, draw_steps


class SequenceReversalPanel(Panel):
    """Numbers in, numbers and attention out."""

    about = "Reverses a sequence of numbers, and shows which of them the network looked at while it wrote each one."
    examples = (
        Example("Five digits", {"sequence": [3, 1, 4, 1, 5]}),
        Example("All the same but one", {"sequence": [7, 7, 7, 2, 7, 7]}),
        Example("Twelve", {"sequence": [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]}),
    )

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.specs = {**self.specs, "alternatives": {**self.specs["alternatives"], "default": ALTERNATIVES}}

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        st.session_state[f"{key}-sequence"] = as_text(row.get("sequence") or [])

    def row(self, key: str) -> dict[str, Any]:
        typed = st.text_input(
            "Numbers",
            key=f"{key}-sequence",
            placeholder="3 1 4 1 5",
            max_chars=2_000,
            help="Whole numbers, separated by spaces or commas.",
            persist_state="session",
        )
        return {"sequence": numbers(typed or "")}

    def draw(self, row: Row, result: Row, key: str) -> None:
        source, said = [int(number) for number in row["sequence"]], result["reversed"]
        st.markdown(f"**{escaped(as_text(said) or 'nothing')}**")
        st.markdown(verdict(source, said))
        if result["beyond_training"]:
            st.caption("The sequence is longer than any that this network was trained on.")
        draw_attention(result["attention"], source, said, key)
        draw_steps(result.get("steps"), source, key)


def numbers(typed: str) -> list[int | str]:
    """What was typed as numbers; what is none stays as it is, for the task to name it."""
    return [_number(word) for word in typed.replace(",", " ").split()]


def _number(word: str) -> int | str:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else word


def as_text(sequence: Sequence[object]) -> str:
    """A sequence as people type it."""
    return " ".join(str(number) for number in sequence)


def verdict(source: Sequence[int], said: Sequence[int]) -> str:
    """Whether it is the reverse, as Markdown."""
    right = list(source)[::-1]
    if list(said) == right:
        return ":material/check_circle: Right: this is the reverse."
    places = sum(one == other for one, other in zip(said, right, strict=False))
    length = "" if len(said) == len(right) else f" Its length is {len(said)} instead of {len(right)}."
    return (
        f":material/cancel: Wrong: the reverse is {escaped(as_text(right))}. "
        f"{places} of {len(right)} numbers stand in the right place.{length}"
    )
