"""Page: sequence networks reverse typed numbers, and show where they looked."""

import streamlit as st

from ui.results import reversing
from ui.session import versions

st.title("Attention")
st.write(
    "Encoder-decoders read numbers and write them in reverse. Attention shows which number a network looks at while it "
    "writes each one."
)
registered = [one for one in versions() if one.task == reversing.TASK]
if not registered:
    reversing.nothing_yet()
    st.stop()
chosen = reversing.choose(registered)
known = reversing.trained_models(chosen)
reversing.ask(chosen, known)
reversing.draw_answers(registered, known)
reversing.draw_lengths(chosen, known)
