"""The form of a program: a control for every field of its configuration class, what is wrong said beside the field."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tasks.parameters import AUTO, Schema, typed, valid_range
from ui.labels import label
from ui.plain import escaped
from ui.running.programs import MOST_CHARACTERS, Program, problems

ACROSS = 2  # fields side by side, where there is room


def draw_form(program: Program, key: str) -> tuple[dict[str, str], dict[str, str]]:
    """Draw the headline fields, and the others folded away.

    Args:
        key: distinguishes the forms of one page.

    Returns all values as texts, and what is wrong with them by field ("" for what concerns none alone).
    """
    # Known before they are drawn again, so that each can be said beside its field.
    held = {name: typed(st.session_state.get(f"{key}-{name}", _shown(spec))) for name, spec in program.specs.items()}
    wrong = problems(program, held)
    others = [name for name in program.specs if name not in program.headline]
    texts = _draw_fields(program, program.headline, wrong, key)
    hidden = [name for name in others if name in wrong]
    with st.expander(f"All parameters ({len(others)} more)", icon=":material/tune:", key=f"{key}-more"):
        texts |= _draw_fields(program, others, wrong, key)
    if hidden:
        st.error(escaped(f"Under all parameters: {', '.join(map(label, hidden))}"), icon=":material/error:")
    if "" in wrong:
        st.error(escaped(wrong[""]), icon=":material/error:")
    return texts, wrong


def _draw_fields(program: Program, names: Sequence[str], wrong: dict[str, str], key: str) -> dict[str, str]:
    """Row by row, so that the Tab key goes through them in the order in which they are read."""
    texts = {}
    for first in range(0, len(names), ACROSS):
        row = names[first : first + ACROSS]
        for place, name in zip(st.columns(ACROSS, vertical_alignment="bottom"), row, strict=False):
            with place:
                texts[name] = _draw_field(name, program.specs[name], f"{key}-{name}")
        for name in row:
            if name in wrong:
                st.error(escaped(wrong[name]), icon=":material/error:")
    return texts


def _draw_field(name: str, spec: Schema, key: str) -> str:
    shared: dict[str, Any] = {"key": key, "help": _help(spec), "persist_state": "session"}
    choices, examples = _choices(spec), spec.get("examples", [])
    if choices or examples:
        # Of those that are only suggested, others can be typed.
        choices = choices or list(dict.fromkeys([typed(spec["default"]), *examples]))
        first = choices.index(typed(spec["default"]))
        return st.selectbox(label(name), choices, first, accept_new_options=bool(examples), **shared) or choices[first]
    if spec["type"] == "boolean":
        return typed(st.toggle(label(name), spec["default"], **shared))
    placeholder = typed(spec["default"])
    return st.text_input(label(name), _shown(spec), placeholder=placeholder, max_chars=MOST_CHARACTERS, **shared)


def _choices(spec: Schema) -> list[str]:
    """The values to choose from; [] for a field that is typed or switched."""
    automatic = [AUTO] if spec["default"] is None else []
    if spec["type"] == "boolean":
        return [AUTO, "true", "false"] if automatic else []
    return [*automatic, *spec["enum"]] if "enum" in spec else []


def _shown(spec: Schema) -> str:
    """What stands in a field at first."""
    return "" if spec["default"] is None else typed(spec["default"])


def _help(spec: Schema) -> str:
    bounds = valid_range(spec)
    first, rest = spec["description"][:1], spec["description"][1:]
    words = f"{first.upper()}{rest}{f' ({bounds})' if bounds else ''}. Default: {typed(spec['default'])}."
    return escaped(words)
