"""Page: what the architectures are made of, two side by side, and what a trained one sees."""

import streamlit as st

from experiments.config import CNN_MODELS
from ui.networks import structure_page

st.title("Inside a network")
st.write("How each architecture is built: its layers, what they cost, and how much of the picture each of them sees.")
left, right = st.columns(2)
for column, place, first in ((left, "left", "lenet5"), (right, "right", "resnet20")):
    with column:
        structure_page.draw_network(place, CNN_MODELS, first)
