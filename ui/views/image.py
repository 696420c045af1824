"""Page: draw a digit, choose an example or upload a picture; registered networks classify it side by side."""

import streamlit as st

from ui.pictures import image_page
from ui.pictures.image_sources import choose_picture
from ui.session import show_errors, versions

TASK = "image-classification"

st.title("Draw and classify")
found = [one for one in versions() if one.task == TASK]
if not found:
    st.info(
        "No network is registered yet. Training one takes half a minute.",
        icon=":material/inventory_2:",
    )
    st.page_link("views/runs.py", label="Start a training", icon=":material/play_circle:")
else:
    networks = image_page.choose_networks(found)
    picture, answers = st.columns([1, 2], gap="large")
    with picture:
        given = choose_picture()
    with answers:
        if not networks:
            st.info("Choose at least one network.")
        elif given is None:
            image_page.forget()
            st.info("Each network says here what it sees, as soon as there is a picture.", icon=":material/draw:")
        else:
            with show_errors("answers"):
                image_page.draw_answers(given, networks)
    with st.expander("What happens to the picture"):
        st.markdown(
            "Every network sees 32 x 32 pixels. A digit, drawn or chosen, is first framed as in the data set that the "
            "network was trained on, because a network knows no other frame: MNIST scales a digit into a box of "
            "20 x 20 pixels and places it in 28 x 28 by its center of mass; the digits of scikit-learn fill the whole "
            "height of 8 x 8 pixels. Both are white on black. An uploaded picture is scaled to 32 x 32 as it is, "
            "unless you say that it shows a digit; networks for gray pictures get it in gray.\n\n"
            "Grad-CAM (Selvaraju et al., 2017) marks the places of the picture that speak for the network's answer: "
            "the last feature maps, weighted by how much the answer grows with each of them."
        )
