"""The part of the page about a trained network: its first filters, and what each block makes of a picture."""

from collections.abc import Sequence

import streamlit as st

from tasks.registry import RegisteredVersion
from ui.answers.answering import REDRAW_S, draw_unanswered
from ui.answers.task_page import choose_version
from ui.panels.image_classification import draw_label
from ui.pictures.block_maps import draw_maps
from ui.pictures.image_page import ask, forget
from ui.pictures.image_sources import choose_picture
from ui.plain import escaped

ASKED = "networks-asked"  # in the session's state
LAYERS = {"layers": True}


def draw_trained(found: Sequence[RegisteredVersion]) -> None:
    """A registered network, a picture, and the maps of every block; draws until the answer is there."""
    left, right = st.columns([1, 2], gap="large")
    with left:
        network = choose_version("Trained network", found, "networks-version")
        given = choose_picture()
    with right:
        if given is None:
            st.info(
                "What each block makes of a picture is shown here, as soon as there is one.", icon=":material/draw:"
            )
            return
        image, framing = given.for_networks_of(network.tags.get("dataset", ""))
        asking = ask([network], {network.key: {"image": image}}, LAYERS, ASKED)[network.key]
        slot = st.empty()
        while not asking.over:
            with slot.container():
                draw_unanswered(asking)
            asking.update(REDRAW_S)
        slot.empty()
        if asking.result is None:
            draw_unanswered(asking)
            st.button("Ask again", key="networks-again", on_click=forget, args=(None, ASKED))
            return
        draw_label(asking.result)
        st.caption(f"It saw the picture {escaped(framing)}.")
        draw_maps(asking.result)
