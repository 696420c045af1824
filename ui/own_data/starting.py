"""What both tabs of the page end with: the button that starts a training, and versions that came of earlier ones."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from experiments.config import UserError
from tasks.registry import RegisteredVersion
from ui.labels import task_title
from ui.plain import escaped
from ui.results.all_runs import open_link
from ui.running.process_cards import draw_note, draw_processes, launch
from ui.running.programs import changed, command_line, program

SHOWN = 3


def draw_start(entry: str, typed: Mapping[str, str], key: str, estimate: Callable[[Mapping[str, str]], str]) -> None:
    """The button that starts an entry point, how long it will take, and the same on the command line.

    Args: typed: the values of the form; estimate: says the time, from those that differ from their defaults.
    """
    try:
        values = changed(program(entry), typed)
    except UserError as error:  # a path with invisible characters, say
        st.error(escaped(str(error)), icon=":material/error:")
        return
    note = f"{key}-training-note"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Train", key=f"{key}-train", type="primary", icon=":material/play_arrow:", on_click=launch,
            args=(entry, values, note),
        )  # fmt: skip
        st.caption(estimate(values))
    draw_note(note)
    with st.expander("The same on the command line"):
        st.code(command_line(program(entry), values), language=None, wrap_lines=True)


def draw_results(entry: str, found: Sequence[RegisteredVersion], empty: str) -> None:
    """The newest of these versions, and the trainings that were started here or on the page Runs."""
    newest = sorted(found, key=lambda one: one.version, reverse=True)[:SHOWN]
    if newest:
        st.header("Try it")
        with st.container(horizontal=True):
            for one in newest:
                if one.run_id:
                    open_link(one.run_id, f"Run of version {one.version}")
                label = escaped(f"{task_title(one.task)} with {one.model}, version {one.version}")
                where = {"task": one.task, "model": one.key}
                st.page_link("views/tasks.py", label=label, icon=":material/bolt:", query_params=where)
            if entry == "cnn":
                st.page_link("views/image.py", label="Draw and classify", icon=":material/draw:")
    st.header("Trainings")
    draw_processes((entry,), empty)
