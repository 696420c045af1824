"""A word below a model: what it is good for; below a starter also the better model one click away."""

import streamlit as st

from tasks.catalog import catalog
from tasks.registry import RegisteredVersion
from ui.plain import escaped
from ui.running.model_facts import champion_rule
from ui.running.process_cards import draw_note, launch
from ui.running.processes import processes


def draw_starter_note(version: RegisteredVersion) -> None:
    """Say what a model is good for, and of a starter that it is one, with the catalog's default offered."""
    offers = catalog().get(version.task)
    good_for = offers.good_for(version.model) if offers else ""
    if good_for:
        st.caption(escaped(f"Good for: {good_for}."))
    if version.tags.get("chat_template") == "none":
        st.caption(
            "This model has no chat template: it continues the messages as plain text, and may not stop on its own."
        )
    if version.tags.get("starter") != "true" or offers is None:
        return
    better, button = offers.default, f"starter-get-{version.task}"
    note = f"{button}-note"  # no widget's key: Streamlit does not allow the state of buttons to be set
    values = {"task": version.task, "model": better.name}
    at_work = any(one.active and dict(one.values) == values for one in processes())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("starter", icon=":material/eco:", color="green")
        st.caption("Small, and trained by this project, so that this task works offline.", width="content")
        st.button(
            escaped(f"Getting {better.name}" if at_work else f"Get {better.name}"),
            key=button,
            on_click=launch,
            args=("register", values, note),
            icon=":material/download:",
            type="tertiary",
            disabled=at_work,
            help=escaped(
                f"Registers {better.model_id} ({better.size()}). It needs an internet connection. "
                f"{champion_rule(version.task)}"
            ),
        )
    draw_note(note)
