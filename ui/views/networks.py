"""Page: what the architectures are made of, two side by side, and what a trained one makes of a picture."""

import streamlit as st

from experiments.config import CNN_MODELS
from ui.networks import structure_page, trained_page
from ui.session import show_errors, versions

TASK = "image-classification"
BUILT, SEES = "How it is built", "What it sees"

st.title("Inside a network")
view = st.segmented_control(
    "View",
    [BUILT, SEES],
    default=BUILT,
    required=True,
    key="networks-view",
    persist_state="session",
    label_visibility="collapsed",
)
if view == BUILT:
    left, right = st.columns(2)
    for column, place, first in ((left, "left", "lenet5"), (right, "right", "resnet20")):
        with column:
            structure_page.draw_network(place, CNN_MODELS, first)
else:
    found = [one for one in versions() if one.task == TASK]
    if found:
        with show_errors("maps"):
            trained_page.draw_trained(found)
    else:
        st.info(
            "No network is registered yet. Training one takes half a minute.",
            icon=":material/inventory_2:",
        )
        st.page_link("views/runs.py", label="Start a training", icon=":material/play_circle:")
