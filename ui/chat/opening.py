"""An empty conversation: what it is for, and first messages to click."""

import streamlit as st

from ui.chat.asking import TASK, Asker
from ui.panels import panel
from ui.plain import escaped


def draw_opening(asker: Asker) -> None:
    """Draw the examples; a click sends one."""
    chat = panel(TASK)
    st.caption(escaped(chat.about))
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption("Examples", width="content")
        for number, example in enumerate(chat.examples):
            st.button(
                escaped(example.label),
                key=f"chat-example-{number}",
                on_click=asker.say,
                args=(example.row["messages"][-1]["content"], None),
            )
