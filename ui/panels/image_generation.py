"""Image generation on the page: prompt, an optional picture to start from, steps, recipe, the session's gallery."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import streamlit as st

from tasks.base import Row
from tasks.picture_recipe import read_recipe
from ui.answers import history
from ui.panels.base import Example, Panel, text_field
from ui.pictures.picture_input import draw_picture_input, keep
from ui.pictures.variations import draw_recipe_loader, draw_variations, offer_light_on_black, variations
from ui.plain import escaped

# In the order of the form; a parameter that is not here comes last.
ORDER = ("negative_prompt", "strength", "steps", "guidance", "seed", "width", "height")
THUMBNAIL, GALLERY = 112, 12
SMALLEST_SHOWN = 256  # pixels


class ImageGenerationPanel(Panel):
    """A prompt in, a picture out."""

    purpose = "A picture from a description, or from another picture."
    batch_hint = "An `image` to start from is PNG or JPEG as base64 text, or empty."
    about = "Draws a picture of what the prompt says, from noise or from a picture of yours, step by step."
    examples = (
        Example("A lighthouse", {"prompt": "a lighthouse on a cliff at dusk, oil painting"}),
        Example("A fox", {"prompt": "a red fox in the snow, photograph, soft morning light"}),
        Example("A city", {"prompt": "a city in the clouds, detailed ink drawing"}),
    )
    starter_examples = (
        Example("A sneaker", {"prompt": "a sneaker"}),
        Example("The digit 7", {"prompt": "the digit 7"}),
        Example("A winter coat", {"prompt": "a winter coat"}),
        Example("Anything to wear", {"prompt": "something to wear"}),
    )

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.specs = {name: self.specs[name] for name in sorted(self.specs, key=_place)}
        self._key = self._picture = ""  # of the form, and of the picture to start from; known once the form is drawn

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        st.session_state[f"{key}-prompt"] = row.get("prompt") or ""
        keep(f"{key}-image", row.get("image"))

    def row(self, key: str) -> dict[str, Any]:
        self._key = key
        prompt = text_field("Prompt", f"{key}-prompt", height=90, placeholder="What the picture shows, and how")
        self._picture = f"{key}-image"
        with st.expander(
            "Start from a picture or a recipe",
            icon=":material/image:",
            expanded=bool(st.session_state.get(self._picture)),
        ):
            left, right = st.columns(2)
            with left:
                image = draw_picture_input("Picture to start from (optional)", self._picture)
                if image is not None and self.starter:
                    offer_light_on_black(self._picture, image)
            with right:
                draw_recipe_loader(key)
        with st.expander("Several pictures", icon=":material/grid_view:"):
            draw_variations(key)
        # How much of a picture to redraw is a question only where there is one.
        self.hidden = frozenset({"strength"} if image is None else ())
        return {"prompt": prompt, "image": image}

    def several(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return variations(parameters, self._key)

    def draw_below(self, key: str) -> None:
        """The pictures of this session, newest first."""
        made = [one for one in history.history() if one.task == self.task and one.result.get("image")]
        if len(made) < 2:
            return
        st.caption("Pictures of this session")
        with st.container(horizontal=True, gap="small"):
            for one in made[:GALLERY]:
                with st.container(width=THUMBNAIL + 16, gap="xsmall"):
                    st.image(_decoded(one.result), width=THUMBNAIL, alt=f"Picture of: {one.row.get('prompt', '')}")
                    with st.popover(f"Seed {one.result['seed']}", type="tertiary", key=f"{key}-gallery-{one.id}"):
                        self.draw(one.row, one.result, f"{key}-gallery-{one.id}")
        if made[GALLERY:]:
            st.caption(f"{len(made) - GALLERY} earlier ones are in the history.")

    def draw(self, row: Row, result: Row, key: str) -> None:
        if not result["image"]:
            st.caption("Stopped before the picture was there.")
            return
        png = _decoded(result)
        # A picture of a few pixels is shown larger than it is.
        shown = SMALLEST_SHOWN if result["width"] < SMALLEST_SHOWN else "content"
        st.image(png, width=shown, alt=f"Picture of: {row['prompt']}")
        recipe = recipe_of(png)
        guidance = f" · guidance {recipe['guidance']:g}" if recipe else ""
        size = f"{result['width']} x {result['height']} pixels"
        st.caption(f"Seed {result['seed']} · {result['steps']} steps{guidance} · {size}")
        if result["truncated"]:
            st.warning(
                escaped(f"The prompt is longer than the model reads. It left out: {result['ignored']}"),
                icon=":material/content_cut:",
            )
        if result.get("flagged"):
            st.warning("The model's safety checker blocked this picture and made it black.", icon=":material/block:")
        with st.container(horizontal=True):
            st.download_button(
                "Download PNG",
                png,
                file_name(row["prompt"], result["seed"]),
                "image/png",
                key=f"{key}-download",
                icon=":material/download:",
                on_click="ignore",
            )
            if self.ask is not None:
                st.button(
                    "Start from this picture",
                    key=f"{key}-again",
                    icon=":material/image:",
                    on_click=keep,
                    args=(self._picture, result["image"]),
                )
        if recipe and result["model"]:  # else it is kept back
            with st.expander("Recipe", icon=":material/receipt_long:"):
                st.json(recipe)
                st.caption("The same settings draw the same picture. The PNG carries them in its text chunk `recipe`.")


def recipe_of(png: bytes) -> dict[str, Any]:
    """All settings that make a picture again, as the PNG carries them; none for a PNG of another kind."""
    try:
        return read_recipe(png)
    except ValueError:
        return {}


def file_name(prompt: str, seed: int) -> str:
    """A name for a picture's file: the first words of the prompt, and the seed."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())[:6]
    return "-".join([*words, str(seed)])[:80] + ".png"


def _decoded(result: Row) -> bytes:
    return base64.b64decode(result["image"])


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
