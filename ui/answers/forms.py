"""Controls for a task's parameters, made from their specs: any task's settings can be drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Parameter
from ui.plain import escaped

SLIDER_RANGE = 50  # whole numbers between wider bounds are better typed
LONG_TEXT = 200
SMALL_STEP, STEPS = 0.01, 100


def draw_parameters(specs: Sequence[Parameter], key: str, upfront: int = 3) -> dict[str, Any]:
    """Draw a control for each parameter; the first ones at once, the others folded away. Returns all values.

    Args:
        key: tells forms of one page apart.
        upfront: how many are seen at once.
    """
    if not specs:
        return {}
    values = _columns(specs[:upfront], key)
    if specs[upfront:]:
        with st.expander("More settings", icon=":material/tune:"):
            values |= _columns(specs[upfront:], key)
            _reset_button(specs, key)
    elif len(specs) > 1:
        _reset_button(specs, key)
    return values


def fill_parameters(specs: Sequence[Parameter], values: Mapping[str, Any], key: str) -> None:
    """Put values into the form, defaults where there are none or they are not valid; before the form is drawn."""
    for spec in specs:
        try:
            st.session_state[_key(key, spec)] = spec.check(values.get(spec.name))
        except ValueError:  # kept from an earlier version of the program
            st.session_state[_key(key, spec)] = spec.default


def _reset_button(specs: Sequence[Parameter], key: str) -> None:
    st.button("Reset to defaults", key=f"{key}-reset", icon=":material/restart_alt:", type="tertiary",
              on_click=fill_parameters, args=(specs, {}, key))  # fmt: skip


def _columns(specs: Sequence[Parameter], key: str) -> dict[str, Any]:
    """Controls side by side where there is room: texts and switches below numbers."""
    values = {}
    numbers = [spec for spec in specs if spec.kind in (int, float)]
    if numbers:
        for column, spec in zip(st.columns(max(3, len(numbers))), numbers, strict=False):
            with column:
                values[spec.name] = draw_parameter(spec, key)
    for spec in specs:
        if spec not in numbers:
            values[spec.name] = draw_parameter(spec, key)
    return values


def draw_parameter(spec: Parameter, key: str) -> Any:
    """The control of one parameter, and the value in it; None stands for the default."""
    name = _key(key, spec)
    if name not in st.session_state:
        st.session_state[name] = spec.default
    label = title(spec)
    shared: dict[str, Any] = {"key": name, "help": hint(spec), "persist_state": "session"}
    if spec.kind is bool:
        return st.toggle(label, **shared)
    if spec.kind is str:
        box = st.text_area if (spec.maximum or LONG_TEXT + 1) > LONG_TEXT else st.text_input
        extra: dict[str, Any] = {"height": 68} if box is st.text_area else {}
        return box(label, max_chars=int(spec.maximum) if spec.maximum else None, **extra, **shared)
    low, high = (None if bound is None else spec.kind(bound) for bound in (spec.minimum, spec.maximum))
    if spec.default is not None and low is not None and high is not None and high - low <= SLIDER_RANGE:
        step = 1 if spec.kind is int else _step(high - low)
        return st.slider(label, low, high, step=step, **shared)
    step = 1 if spec.kind is int else SMALL_STEP if high is None or low is None else _step(high - low)
    empty: dict[str, Any] = {"value": None, "placeholder": "default"} if spec.default is None else {}
    return st.number_input(label, low, high, step=step, **empty, **shared)


def title(spec: Parameter) -> str:
    """A parameter's name as a label."""
    return escaped(spec.name.replace("_", " ").capitalize())


def hint(spec: Parameter) -> str:
    """Help, what is valid, and the default, in words."""
    default = "" if spec.default in (None, "") or spec.kind is bool else f" Default: {spec.default}."
    valid = "" if spec.kind is bool else f" Valid: {spec.valid()}."
    return escaped(f"{spec.help[:1].upper()}{spec.help[1:]}.{valid}{default}")


def _step(width: float) -> float:
    """A step that divides a range of this width into at most a few hundred."""
    return SMALL_STEP if width <= STEPS * SMALL_STEP * 2 else 0.05 if width <= 5 else 0.5


def _key(key: str, spec: Parameter) -> str:
    return f"{key}-{spec.name}"
