"""Page: registered models and who is champion, models to register, and what is in memory."""

import streamlit as st

from ui.hub.panel import draw_hub
from ui.labels import task_title
from ui.running.model_cards import draw_catalog, draw_memory, draw_model
from ui.running.model_facts import by_name
from ui.running.process_cards import draw_processes
from ui.session import show_errors, versions

ALL = "All tasks"
TABS = ("Registered", "Register a model", "Find on the Hub", "In memory")

st.title("Models")
tabs = st.tabs(TABS, key="models-tab", on_change="rerun")
with show_errors("models"):
    found = versions()
    registered, catalog, hub, _ = tabs
    if registered.open:
        with registered:
            if not found:
                st.info(
                    "Nothing is registered yet. Train a network on the page Runs, or register a pretrained model "
                    "here under “Register a model”.",
                    icon=":material/inventory_2:",
                )
                st.page_link("views/runs.py", label="Train something", icon=":material/play_circle:")
            names = sorted({one.task for one in found})
            if len(names) > 1:
                wanted = st.selectbox(
                    "Task",
                    [ALL, *names],
                    key="models-filter",
                    persist_state="session",
                    format_func=lambda name: name if name == ALL else task_title(name),
                )
                found = [one for one in found if wanted in (ALL, one.task)]
            for name, group in by_name(found).items():
                draw_model(name, group)
    if catalog.open:
        with catalog:
            draw_catalog(found)
            st.header("Registering")
            draw_processes(("register",), "Nothing is being registered.")
    if hub.open:
        with hub:
            draw_hub(found)
if tabs[3].open:
    with tabs[3]:
        draw_memory()
