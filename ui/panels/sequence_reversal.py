"""Sequence reversal on the page: numbers typed, their reverse, whether it is right, and where the network looked."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.panels.base import Example, Panel
from ui.plain import escaped
from ui.results.attention_map import draw_attention
from ui.results.decoding_steps import ALTERNATIVES, draw_steps
from ui.results.sequences import chips, verdict, wrong_places


class SequenceReversalPanel(Panel):
    """Numbers in, numbers and attention out."""

    purpose = "Numbers written backwards, and where the network looked."
    batch_hint = "Write a sequence as numbers with blanks between them: `3 1 4`."
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
        draw_reversal(row, result, key)


def draw_reversal(row: Row, result: Row, key: str, longest: int | None = None) -> None:
    """An answer with its mistakes marked, its attention and its steps.

    Args: longest: how many numbers the longest sequence in the network's training has, if that is known.
    """
    source, said = [int(number) for number in row["sequence"]], [int(number) for number in result["reversed"]]
    wrong = wrong_places(source, said)
    st.html(chips(said, wrong=wrong))
    st.markdown(f":material/{'cancel' if wrong else 'check_circle'}: {escaped(verdict(source, said))}")
    if wrong:
        st.caption(f"The reverse is {as_text(source[::-1])}.")
    if result["beyond_training"]:
        trained = f"up to {longest} numbers" if longest else "shorter sequences"
        st.info(
            f"These are {len(source)} numbers, longer than anything in its training ({trained}).",
            icon=":material/straighten:",
        )
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
