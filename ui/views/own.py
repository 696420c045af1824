"""Page: the visitor's own data: kept, looked at, trained on, tried."""

import streamlit as st

from ui.own_data.pictures import draw_pictures
from ui.session import errors_in_words

st.title("Your own data")
st.write("Bring pictures of your own, see what they are like, train a network on them, and try it.")
with errors_in_words("own"):
    draw_pictures()
