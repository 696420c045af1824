"""Several pictures a click: of different seeds, or a grid over steps and guidance; and settings out of a PNG."""

import random
from collections.abc import Mapping
from typing import Any

import streamlit as st

from tasks.base import TaskInputError
from tasks.image_generation import DrawingParameters
from tasks.picture_recipe import read_recipe
from ui.answers.forms import fill_parameters
from ui.pictures.drawing import light_on_black, pixels_of, png
from ui.pictures.picture_input import keep
from ui.plain import escaped

MOST = 9
SEEDS, GRID = "Seeds", "Steps × guidance"
SHORT_SEEDS = 10**6  # short enough to be read out
LIGHT = 127  # a median of the border above it is a light ground


def draw_variations(key: str) -> None:
    """How many pictures are drawn at a click, and what differs between them."""
    kind = st.segmented_control(
        "What differs", [SEEDS, GRID], default=SEEDS, required=True, key=f"{key}-differs", persist_state="session"
    )
    if kind == GRID:
        left, right = st.columns(2)
        left.text_input("Steps to try", "6, 12, 24", key=f"{key}-grid-steps", persist_state="session")
        right.text_input("Guidance to try", "1, 2, 4", key=f"{key}-grid-guidance", persist_state="session")
        st.caption(f"One picture for each pair, all of one seed; up to {MOST}.")
    else:
        st.slider("Pictures", 1, MOST, key=f"{key}-pictures", persist_state="session")


def variations(parameters: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The settings of each picture of a click. Raises TaskInputError for what was typed wrong."""
    seed = parameters["seed"]
    if st.session_state.get(f"{key}-differs") == GRID:
        steps = numbers(st.session_state[f"{key}-grid-steps"], "steps", int)
        guidance = numbers(st.session_state[f"{key}-grid-guidance"], "guidance", float)
        if len(steps) * len(guidance) > MOST:
            raise TaskInputError(
                f"steps and guidance make {len(steps) * len(guidance)} pictures; valid: at most {MOST}"
            )
        shared = {**parameters, "seed": random.randrange(SHORT_SEEDS) if seed is None else seed}
        return [{**shared, "guidance": pull, "steps": number} for pull in guidance for number in steps]
    count = st.session_state.get(f"{key}-pictures") or 1
    return [{**parameters, "seed": None if seed is None else (seed + more) % 2**32} for more in range(count)]


def numbers(typed: str, name: str, kind: type[int] | type[float]) -> list[Any]:
    """Numbers with commas between them. Raises TaskInputError."""
    try:
        return [kind(one) for one in typed.split(",") if one.strip()] or [None]
    except ValueError:
        raise TaskInputError(f"{name} to try are {typed[:40]!r}; valid: numbers with commas between them") from None


def draw_recipe_loader(key: str) -> None:
    """A place for a PNG that was drawn here: its prompt and settings go into the form."""
    st.file_uploader(
        "Recipe: a PNG that was drawn here",
        ["png"],
        key=_box(key),
        max_upload_size=20,
        on_change=_load,
        args=(key,),
        help="Its prompt and settings go into the form: they draw the same picture again.",
    )
    said = st.session_state.get(f"{key}-recipe-said")
    if said:
        st.caption(escaped(said))


def _load(key: str) -> None:
    file = st.session_state.get(_box(key))
    if file is None:
        return
    st.session_state[f"{key}-recipe-count"] = st.session_state.get(f"{key}-recipe-count", 0) + 1  # an empty box
    try:
        recipe = read_recipe(file.getvalue())
    except ValueError:
        said = f"{file.name[:100]} holds no recipe; valid: a PNG that was drawn here."
    else:
        st.session_state[f"{key}-prompt"] = str(recipe.get("prompt") or "")
        known = {name: value for name, value in recipe.items() if name in DrawingParameters.model_fields}
        if known.get("strength") is None:
            known.pop("strength", None)
        fill_parameters(DrawingParameters, known, f"{key}-set")
        st.session_state[f"{key}-differs"], st.session_state[f"{key}-pictures"] = SEEDS, 1
        said = f"The recipe of a picture by {str(recipe.get('model'))[:100]}."
        if recipe.get("image_sha256"):
            said += " It was drawn from another picture, which the file does not hold: choose that one, too."
    st.session_state[f"{key}-recipe-said"] = said


def _box(key: str) -> str:
    return f"{key}-recipe-{st.session_state.get(f'{key}-recipe-count', 0)}"


def offer_light_on_black(picture: str, image: str) -> None:
    """For models that know light on black only: a button that turns a drawing on white paper into it.

    Args: picture: the key that it is kept under.
    """
    gray = pixels_of(image, gray=True)
    border = sorted([*gray[0], *gray[-1], *gray[:, 0], *gray[:, -1]])
    if border[len(border) // 2] > LIGHT:
        st.button(
            "Make it light on black",
            key=f"{picture}-invert",
            icon=":material/invert_colors:",
            help="This model was trained on light objects on a black background only.",
            on_click=lambda: keep(picture, png(light_on_black(gray))),
        )
