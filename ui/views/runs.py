"""Page: start a program of the project, watch its curve, stop it. It continues when the browser is closed."""

import streamlit as st

from ui.labels import label
from ui.plain import escaped
from ui.running.process_cards import draw_note, draw_processes, launch
from ui.running.processes import PLACES, processes
from ui.running.programs import changed, command_line, program, programs
from ui.running.run_form import draw_form

NOTE = "runs-note"
WORDS = {
    "cnn": "Train a CNN",
    "seq2seq": "Train an encoder-decoder",
    "compare": "Compare models",
    "benchmark": "Measure training speed",
    "register": "Register pretrained models",
    "tune": "Search hyperparameters",
    "starter": "Train starter models",
}

st.title("Runs")
st.write("Train here or on the command line: it is the same program, and its run is in MLflow either way.")
left, right = st.columns([2, 3], gap="large")
with left:
    st.header("Start a run")
    entry = st.selectbox(
        "What to run",
        list(programs()),
        format_func=lambda name: WORDS.get(name, label(name)),
        key="runs-entry",
        persist_state="session",
    )
    chosen = program(entry)
    st.caption(escaped(chosen.purpose))
    typed, wrong = draw_form(chosen, f"run-{entry}")
    values = {} if wrong else changed(chosen, typed)
    st.button(
        "Start",
        key="runs-start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=bool(wrong),
        on_click=launch,
        args=(entry, values, NOTE),
    )
    draw_note(NOTE)
    if sum(process.active for process in processes()) >= PLACES:
        st.caption(f"{PLACES} programs run at once; more are queued.")
    if not wrong:
        st.caption("The same on the command line:")
        st.code(command_line(chosen, values), language=None, wrap_lines=True)
with right:
    st.header("Started from here")
    draw_processes(empty="Nothing has been started from here yet. The defaults train LeNet-5 on digits in a minute.")
