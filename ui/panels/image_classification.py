"""Image classification on the page: a picture in, a bar for each class, and what the network looked at."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.panels.base import Panel
from ui.pictures.block_maps import draw_maps
from ui.pictures.class_bars import draw_class_bars
from ui.pictures.drawing import pixels_of
from ui.pictures.heatmaps import enlarged, overlaid
from ui.pictures.picture_input import draw_picture_input, keep
from ui.plain import escaped

SHOWN = 92  # pixels on the page: two fit side by side where two answers stand side by side


class ImageClassificationPanel(Panel):
    """A picture in, classes out."""

    purpose = "What a network that was trained here sees in a picture."
    batch_hint = "Pictures are PNG or JPEG as base64 text."
    about = (
        "Classifies a picture among the classes that the network was trained on. It sees 32 x 32 pixels, or the size "
        "of your own pictures that it was trained on. "
        "To draw a digit, or to compare networks, use the page Draw and classify."
    )

    def fill(self, row: Mapping[str, Any], key: str) -> None:
        keep(f"{key}-image", row.get("image"))

    def row(self, key: str) -> dict[str, Any]:
        return {"image": draw_picture_input("Picture (PNG or JPEG)", f"{key}-image")}

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        draw_label(result)
        draw_class_bars(result["scores"])
        if "heatmap" in result:
            draw_attention_on_picture(result)
        if "layers" in result:
            draw_maps(result)


def draw_label(result: Row) -> None:
    """What the network says."""
    st.markdown(f"**{escaped(result['label'])}** with a probability of {result['score']:.1%}")


def draw_attention_on_picture(result: Row) -> None:
    """What the network saw, and the same with the places that speak for its answer; of an explained result."""
    with st.container(horizontal=True, gap="small"):
        st.image(enlarged(pixels_of(result["seen"])), "What it saw", width=SHOWN, alt="The network's input")
        st.image(
            overlaid(result["seen"], result["heatmap"]),
            "Grad-CAM",
            width=SHOWN,
            alt=f"The network's input, bright where it speaks for {result['label']}",
        )
