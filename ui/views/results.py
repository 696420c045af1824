"""Page: all runs of all experiments as one table; ticking one opens its page."""

import streamlit as st

from ui.results.all_runs import draw_all_runs
from ui.session import errors_in_words

st.title("All runs")
with errors_in_words("all-runs"):
    draw_all_runs()
