"""The form of a program: a control for every field of its configuration class, what is wrong said beside the field."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from experiments.config import valid_range
from ui.plain import escaped
from ui.running.programs import AUTO, MOST_CHARACTERS, Program, default_text, problems


def draw_form(program: Program, key: str, across: int = 2) -> tuple[dict[str, str], dict[str, str]]:
    """Draw the headline fields, and the others folded away.

    Args:
        key: tells forms of one page apart.
        across: how many fields stand side by side where there is room.

    Returns all values as texts, and what is wrong with them by field ("" for what concerns none alone).
    """
    # Known before they are drawn again, so that each can be said beside its field.
    wrong = problems(program, {name: _typed(field, f"{key}-{name}") for name, field in program.fields.items()})
    others = [name for name in program.fields if name not in program.headline]
    typed = _draw_fields(program, program.headline, wrong, key, across)
    hidden = [name for name in others if name in wrong]
    with st.expander(f"All parameters ({len(others)} more)", icon=":material/tune:", key=f"{key}-more"):
        typed |= _draw_fields(program, others, wrong, key, across)
    if hidden:
        st.error(escaped(f"Under all parameters: {', '.join(map(label, hidden))}"), icon=":material/error:")
    if "" in wrong:
        st.error(escaped(wrong[""]), icon=":material/error:")
    return typed, wrong


def label(name: str) -> str:
    """A field's name as people write it."""
    return name.replace("_", " ").capitalize()


def _draw_fields(
    program: Program, names: Sequence[str], wrong: dict[str, str], key: str, across: int
) -> dict[str, str]:
    """Row by row, so that the Tab key goes through them in the order in which they are read."""
    typed = {}
    for first in range(0, len(names), across):
        row = names[first : first + across]
        for place, name in zip(st.columns(across, vertical_alignment="bottom"), row, strict=False):
            with place:
                typed[name] = _draw_field(program.fields[name], f"{key}-{name}")
        for name in row:
            if name in wrong:
                st.error(escaped(wrong[name]), icon=":material/error:")
    return typed


def _draw_field(field: Any, key: str) -> str:
    shared: dict[str, Any] = {"key": key, "help": _help(field), "persist_state": "session"}
    choices = _choices(field)
    if choices:
        return st.selectbox(label(field.name), choices, index=choices.index(default_text(field)), **shared)
    if field.type is bool:
        return str(st.toggle(label(field.name), field.default, **shared)).lower()
    shown = "" if field.default is None else default_text(field)
    return st.text_input(label(field.name), shown, placeholder=default_text(field), max_chars=MOST_CHARACTERS, **shared)


def _choices(field: Any) -> list[str]:
    """The values to choose from; [] for a field that is typed or switched."""
    automatic = [AUTO] if field.default is None else []
    if field.type is bool:
        return [AUTO, "true", "false"] if automatic else []
    choices = field.metadata.get("choices") or ()
    return [*automatic, *choices] if choices else []


def _typed(field: Any, key: str) -> str:
    """What is in a field now, drawn or not."""
    value = st.session_state.get(key, "" if field.default is None else default_text(field))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _help(field: Any) -> str:
    bounds = valid_range(field.metadata)
    words = f"{field.metadata['help'].capitalize()}{f' ({bounds})' if bounds else ''}. Default: {default_text(field)}."
    return escaped(words)
