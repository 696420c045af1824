"""Page: all runs of all experiments as one table; ticking one opens its page."""

import streamlit as st

from ui.results.all_runs import draw_all_runs
from ui.session import show_errors

st.title("All runs")
with show_errors("all-runs"):
    draw_all_runs()
