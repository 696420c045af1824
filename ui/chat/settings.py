"""Above the conversation: which model replies, its system prompt and parameters, a second model beside it."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tasks.chat import ReplyParameters
from tasks.registry import RegisteredVersion
from ui.answers.forms import draw_parameter, draw_reset, fill_parameters, limited
from ui.answers.rating import draw_log_switch
from ui.answers.task_page import choose_version, second_model, wants_second
from ui.chat import session
from ui.chat.asking import TASK, Asker
from ui.panels.base import text_field
from ui.plain import visible
from ui.session import services

EXAMPLE = "You are a friendly teacher who answers in short sentences."


def draw_settings(models: Sequence[RegisteredVersion]) -> Asker:
    """Draw the choice of a model, and the rest in a popover. Gives what asks with these settings."""
    if not models:
        st.info("No chat model is registered yet.", icon=":material/inventory_2:")
        st.page_link("views/models.py", label="Choose and register models", icon=":material/deployed_code:")
        return Asker((), "", {})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width="stretch"):
            version = choose_version("Model", models, session.MODEL)
        with st.popover("Settings", icon=":material/tune:"):
            system = text_field(
                "System prompt: instructions before the conversation",
                session.SYSTEM,
                height=80,
                placeholder=visible(version.tags.get("system_prompt", EXAMPLE)),
            )
            wanted = wants_second(version, models)
            second = second_model(version, models, wanted)
            blind = bool(second) and st.toggle(
                "Blind",
                key="chat-blind",
                help="The two reply in a random order, without their names, until you have voted for the better reply.",
                persist_state="session",
            )
            parameters = _draw_parameters(version)
            draw_log_switch("chat")
        st.button("New chat", key="chat-new", icon=":material/add_comment:", on_click=session.begin)
    return Asker([version, *second], system, parameters, blind=blind)


def fill_settings(settings: dict[str, Any]) -> None:
    """Put the settings of a conversation into the controls, before they are drawn."""
    models = settings.get("models") or []
    if models:
        st.session_state[session.MODEL] = models[0]
    if len(models) > 1:
        st.session_state[f"tasks-side-{TASK}"] = True
        st.session_state[f"tasks-second-{TASK}"] = models[1]
    st.session_state[session.SYSTEM] = settings.get("system", "")
    fill_parameters(ReplyParameters, settings.get("parameters", {}), session.SETTINGS)


def _draw_parameters(version: RegisteredVersion) -> dict[str, Any]:
    specs = limited(ReplyParameters.specs(), services().worker.limits(version.key))
    values = {name: draw_parameter(name, spec, session.SETTINGS) for name, spec in specs.items()}
    draw_reset(specs, session.SETTINGS)
    return values
