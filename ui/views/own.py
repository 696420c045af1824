"""Page: the visitor's own data: kept, looked at, trained on, tried."""

import streamlit as st

from ui.own_data.pictures import draw_pictures
from ui.own_data.texts import draw_texts
from ui.session import show_errors

st.title("Your own data")
st.write("Bring pictures or texts of your own, read a report on them, train a network on them, and try it.")
pictures, texts = st.tabs(["Pictures", "Texts"])
with pictures, show_errors("own"):
    draw_pictures()
with texts, show_errors("own-texts"):
    draw_texts()
