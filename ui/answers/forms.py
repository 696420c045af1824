"""Controls for a task's parameters, made from their schemas: any task's settings can be drawn."""

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError

from tasks.parameters import Parameters, Schema, valid
from ui.labels import label
from ui.plain import escaped

SLIDER_RANGE = 50  # whole numbers between wider bounds are better typed
LONG_TEXT = 200
SMALL_STEP, STEPS = 0.01, 100
ACROSS = 4  # controls side by side
Specs = Mapping[str, Schema]


def draw_parameters(specs: Specs, key: str) -> dict[str, Any]:
    """Draw a control for each parameter, folded away where there are several. Returns all values.

    Args:
        specs: what is drawn, in this order.
        key: distinguishes the forms of one page.
    """
    if len(specs) < 2:
        return _columns(specs, key)
    wrong = any(not fits(spec, st.session_state.get(f"{key}-{name}")) for name, spec in specs.items())
    with st.expander("Settings", icon=":material/tune:", expanded=wrong):
        values = _columns(specs, key)
        draw_reset(specs, key)
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


def draw_reset(specs: Specs, key: str) -> None:
    """Draw the button that puts the defaults back."""
    defaults = {f"{key}-{name}": spec["default"] for name, spec in specs.items()}
    st.button(
        "Reset to defaults",
        key=f"{key}-reset",
        icon=":material/restart_alt:",
        type="tertiary",
        on_click=st.session_state.update,
        args=(defaults,),
    )


def _columns(specs: Specs, key: str) -> dict[str, Any]:
    """Controls side by side where there is room: texts and switches below numbers."""
    values = {}
    numbers = [name for name, spec in specs.items() if spec["type"] in ("integer", "number")]
    if numbers:
        for first in range(0, len(numbers), ACROSS):
            for column, name in zip(st.columns(ACROSS), numbers[first : first + ACROSS], strict=False):
                with column:
                    values[name] = draw_parameter(name, specs[name], key)
    for name, spec in specs.items():
        if name not in numbers:
            values[name] = draw_parameter(name, spec, key)
    return values


def draw_parameter(name: str, spec: Schema, key: str) -> Any:
    """The control of one parameter, and the value in it; None stands for the default."""
    st.session_state.setdefault(f"{key}-{name}", spec["default"])
    shared: dict[str, Any] = {"key": f"{key}-{name}", "help": hint(spec), "persist_state": "session"}
    if spec["type"] == "boolean":
        return st.toggle(escaped(label(name)), **shared)
    if spec["type"] == "string":
        most = spec.get("maxLength")
        if most and most <= LONG_TEXT:
            return st.text_input(escaped(label(name)), max_chars=most, **shared)
        return st.text_area(escaped(label(name)), max_chars=most, height=68, **shared)
    whole = spec["type"] == "integer"
    bounds = (spec.get("minimum"), spec.get("maximum"))
    low, high = (None if bound is None else int(bound) if whole else float(bound) for bound in bounds)
    width = math.inf if low is None or high is None else high - low
    step = spec.get("multipleOf", 1) if whole else SMALL_STEP if width == math.inf else _step(width)
    if spec["default"] is not None and width <= SLIDER_RANGE:
        return st.slider(escaped(label(name)), low, high, step=step, **shared)
    empty: dict[str, Any] = {"value": None, "placeholder": "default"} if spec["default"] is None else {}
    # Without bounds: given them, Streamlit keeps what is out of range to the browser, and the last value is used.
    value = st.number_input(escaped(label(name)), step=step, **empty, **shared)
    if not fits(spec, value):
        st.markdown(f":red[:material/error: {escaped(f'Valid: {valid(spec)}')}]")
    return value


def fits(spec: Schema, value: Any) -> bool:
    """Whether a number is within the bounds of its field; None stands for the default. Other kinds always fit."""
    if value is None or spec["type"] not in ("integer", "number"):
        return True
    low, high = spec.get("minimum", -math.inf), spec.get("maximum", math.inf)
    above, below = spec.get("exclusiveMinimum", -math.inf), spec.get("exclusiveMaximum", math.inf)
    multiple = "multipleOf" not in spec or value % spec["multipleOf"] == 0
    return low <= value <= high and above < value < below and multiple


def limited(specs: Specs, limits: Mapping[str, int]) -> dict[str, Schema]:
    """Schemas whose largest values and defaults are those of a loaded model, where these are smaller."""
    found = dict(specs)
    for name in limits.keys() & specs.keys():
        most = min(limits[name], specs[name]["maximum"])
        found[name] = {**specs[name], "maximum": most, "default": min(most, specs[name]["default"])}
    return found


def hint(spec: Schema) -> str:
    """Help, what is valid, and the default."""
    switch, text = spec["type"] == "boolean", spec["description"]
    default = "" if spec["default"] in (None, "") or switch else f" Default: {spec['default']}."
    return escaped(f"{text[:1].upper()}{text[1:]}.{'' if switch else f' Valid: {valid(spec)}.'}{default}")


def _step(width: float) -> float:
    """A step that divides a range of this width into at most a few hundred."""
    return SMALL_STEP if width <= STEPS * SMALL_STEP * 2 else 0.05 if width <= 5 else 0.5
