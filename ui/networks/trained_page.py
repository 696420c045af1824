"""The part of the page about a trained network: its first filters, and what each block makes of a picture."""

from collections.abc import Sequence

import streamlit as st

from tasks.registry import RegisteredVersion
from ui.answers.answering import REDRAW_S, draw_unanswered
from ui.answers.asking import Asking
from ui.answers.task_page import choose_version
from ui.panels.image_classification import draw_label
from ui.pictures.block_maps import draw_maps
from ui.pictures.image_sources import choose_picture
from ui.plain import escaped
from ui.session import services

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
        asking = ask(network, image)
        slot = st.empty()
        while not asking.over:
            with slot.container():
                draw_unanswered(asking)
            asking.update(REDRAW_S)
        slot.empty()
        if asking.result is None:
            draw_unanswered(asking)
            st.button("Ask again", key="networks-again", on_click=forget)
            return
        draw_label(asking.result)
        st.caption(f"It saw the picture {escaped(framing)}.")
        draw_maps(asking.result)


def ask(network: RegisteredVersion, image: str) -> Asking:
    """The question about this picture: asked before, or asked now, and the one before it stopped."""
    before: Asking | None = st.session_state.get(ASKED)
    row = {"image": image}
    if before is not None and (before.reference, before.row) == (network.key, row):
        return before
    if before is not None:
        before.stop()
    job = services().submit(network.key, row, LAYERS)
    st.session_state[ASKED] = asking = Asking.of(job, network, row, LAYERS)
    return asking


def forget() -> None:
    """Ask anew at the next look."""
    st.session_state.pop(ASKED, None)
