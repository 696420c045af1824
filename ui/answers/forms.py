"""Controls for a task's parameters, made from their schemas: any task's settings can be drawn."""

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError

from tasks.parameters import Parameters, Schema, valid
from ui.plain import escaped

SLIDER_RANGE = 50  # whole numbers between wider bounds are better typed
LONG_TEXT = 200
SMALL_STEP, STEPS = 0.01, 100
Specs = Mapping[str, Schema]


def draw_parameters(specs: Specs, key: str, upfront: int = 3) -> dict[str, Any]:
    """Draw a control for each parameter; the first ones at once, the others folded away. Returns all values.

    Args:
        specs: what is drawn, in this order.
        key: tells forms of one page apart.
        upfront: how many are seen at once.
    """
    if not specs:
        return {}
    shown = dict(list(specs.items())[:upfront])
    values = _columns(shown, key)
    folded = {name: spec for name, spec in specs.items() if name not in shown}
    if folded:
        with st.expander("More settings", icon=":material/tune:"):
            values |= _columns(folded, key)
            _reset_button(specs, key)
    elif len(specs) > 1:
        _reset_button(specs, key)
    return values


def fill_parameters(model: type[Parameters], values: Mapping[str, Any], key: str) -> None:
    """Put values into the form before it is drawn; defaults for those that an earlier version of the program kept."""
    known = {name: value for name, value in values.items() if name in model.model_fields}
    try:
        usable = model.model_validate(known).model_dump()
    except ValidationError as error:
        wrong = {place for one in error.errors() for place in one["loc"]} or set(known)
        fill_parameters(model, {name: None if name in wrong else value for name, value in known.items()}, key)
    else:
        st.session_state.update({f"{key}-{name}": usable[name] for name in known})


def _reset_button(specs: Specs, key: str) -> None:
    defaults = {f"{key}-{name}": spec["default"] for name, spec in specs.items()}
    st.button("Reset to defaults", key=f"{key}-reset", icon=":material/restart_alt:", type="tertiary",
              on_click=st.session_state.update, args=(defaults,))  # fmt: skip


def _columns(specs: Specs, key: str) -> dict[str, Any]:
    """Controls side by side where there is room: texts and switches below numbers."""
    values = {}
    numbers = [name for name, spec in specs.items() if spec["type"] in ("integer", "number")]
    if numbers:
        for column, name in zip(st.columns(max(3, len(numbers))), numbers, strict=False):
            with column:
                values[name] = draw_parameter(name, specs[name], key)
    for name, spec in specs.items():
        if name not in numbers:
            values[name] = draw_parameter(name, spec, key)
    return values


def draw_parameter(name: str, spec: Schema, key: str) -> Any:
    """The control of one parameter, and the value in it; None stands for the default."""
    st.session_state.setdefault(f"{key}-{name}", spec["default"])
    label = title(name)
    shared: dict[str, Any] = {"key": f"{key}-{name}", "help": hint(spec), "persist_state": "session"}
    if spec["type"] == "boolean":
        return st.toggle(label, **shared)
    if spec["type"] == "string":
        most = spec.get("maxLength")
        if most and most <= LONG_TEXT:
            return st.text_input(label, max_chars=most, **shared)
        return st.text_area(label, max_chars=most, height=68, **shared)
    whole = spec["type"] == "integer"
    bounds = (spec.get("minimum"), spec.get("maximum"))
    low, high = (None if bound is None else int(bound) if whole else float(bound) for bound in bounds)
    width = math.inf if low is None or high is None else high - low
    step = spec.get("multipleOf", 1) if whole else SMALL_STEP if width == math.inf else _step(width)
    if spec["default"] is not None and width <= SLIDER_RANGE:
        return st.slider(label, low, high, step=step, **shared)
    empty: dict[str, Any] = {"value": None, "placeholder": "default"} if spec["default"] is None else {}
    return st.number_input(label, low, high, step=step, **empty, **shared)


def title(name: str) -> str:
    """A parameter's name as a label."""
    return escaped(name.replace("_", " ").capitalize())


def hint(spec: Schema) -> str:
    """Help, what is valid, and the default, in words."""
    switch, text = spec["type"] == "boolean", spec["description"]
    default = "" if spec["default"] in (None, "") or switch else f" Default: {spec['default']}."
    return escaped(f"{text[:1].upper()}{text[1:]}.{'' if switch else f' Valid: {valid(spec)}.'}{default}")


def _step(width: float) -> float:
    """A step that divides a range of this width into at most a few hundred."""
    return SMALL_STEP if width <= STEPS * SMALL_STEP * 2 else 0.05 if width <= 5 else 0.5
