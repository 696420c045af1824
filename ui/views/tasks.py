"""Page: choose a task and a registered model, ask it, alone or beside another; many rows; the history."""

import streamlit as st

from ui.answers import task_page
from ui.answers.answering import record_finished
from ui.answers.starter_note import draw_starter_note
from ui.panels import panel
from ui.plain import escaped
from ui.services import tasks_with_models
from ui.session import versions

st.title("Tasks")
found = task_page.known(tasks_with_models(versions()))
record_finished()
if not found:
    st.info("No model is registered yet, so there is no task to choose.", icon=":material/inventory_2:")
    st.page_link("views/home.py", label="Start on the home page", icon=":material/home:")
else:
    left, right = st.columns(2)
    with left:
        task = task_page.choose_task(found)
    with right:
        version = task_page.choose_model(task, found[task])
    chosen = panel(task)
    if chosen.about:
        st.caption(escaped(chosen.about))
    draw_starter_note(version)
    draws = {
        task_page.ASK: task_page.draw_ask,
        task_page.BATCH: task_page.draw_batch,
        task_page.HISTORY: task_page.draw_history,
        **({} if chosen.page else {task_page.LEADERBOARD: task_page.draw_leaderboard}),
    }
    tabs = st.tabs(list(draws), key=task_page.TAB, on_change="rerun")
    # Only the open one is drawn: an answer that is being written keeps the first one busy.
    for tab, draw in zip(tabs, draws.values(), strict=True):
        if tab.open:
            with tab:
                draw(chosen, version, found[task])
