"""Page: what the tool is, what it can do here and now, and the first thing to click."""

import streamlit as st

from ui import home_page
from ui.services import mlflow_ui, tasks_with_models
from ui.session import versions

st.title("Project-DL")
st.write("Train networks, compare them fairly, and use what was registered, in one place.")
found = tasks_with_models(versions())
home_page.draw_work(empty=not found)
if found:
    home_page.draw_tasks(found)
home_page.draw_first_start(found)
home_page.draw_missing(found)
st.divider()
with st.container(horizontal=True):
    st.page_link("views/compare.py", label="How the architectures compare", icon=":material/leaderboard:")
    st.page_link("views/networks.py", label="What is inside a network", icon=":material/account_tree:")
    st.page_link("views/seq2seq.py", label="What attention looks at", icon=":material/swap_horiz:")
    st.page_link("views/runs.py", label="Train something", icon=":material/play_circle:")
    st.link_button(
        "Open MLflow",
        mlflow_ui(),
        icon=":material/open_in_new:",
        type="tertiary",
        help="It is served by another command: make mlflow-ui",
    )
