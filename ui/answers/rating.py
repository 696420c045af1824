"""Below an answer: thumbs, a comment, and whether MLflow has it; and the switch that sends new answers there."""

from collections.abc import Callable

import streamlit as st

from tasks.runs.answers import answers_experiment
from ui.answers.answer import Asked
from ui.answers.history import LOGGING, answer_log
from ui.plain import escaped
from ui.services import answer_link
from ui.session import show_errors

MAX_COMMENT = 2_000
THUMBS = {1: 1, -1: 0, None: None}  # a rating as st.feedback has it


def draw_log_switch(place: str = "ask") -> None:
    """The switch for logging every answer to MLflow. `place` distinguishes several on one page."""
    key = f"{LOGGING}-{place}"
    st.session_state[key] = st.session_state.get(LOGGING, False)
    st.toggle(
        "Log to MLflow",
        key=key,
        on_change=lambda: st.session_state.__setitem__(LOGGING, st.session_state[key]),
        help="Input, output, parameters, seconds and rating of each new answer become a trace in MLflow's experiment "
        "'answers'. Everyone who uses this MLflow can read them; without this, your history is yours alone.",
    )
    if st.session_state.get(LOGGING):
        st.caption("Everyone who uses this MLflow can read what is logged.")


def draw_rating(asked: Asked, place: str = "answer", on_rated: Callable[[Asked], None] | None = None) -> None:
    """Thumbs and a comment for an answer; where it is logged, changes go to MLflow and to `on_rated`."""
    thumbs, comment = f"rating-{place}-{asked.id}", f"comment-{place}-{asked.id}"
    # It may have been rated elsewhere on the page.
    if st.session_state.get(thumbs) != THUMBS[asked.rating]:
        st.session_state[thumbs] = THUMBS[asked.rating]
    if st.session_state.get(comment, "").strip() != asked.comment:
        st.session_state[comment] = asked.comment

    def rated() -> None:
        before = asked.rating, asked.comment
        asked.rating = {1: 1, 0: -1, None: None}[st.session_state[thumbs]]
        asked.comment = st.session_state.get(comment, asked.comment).strip()
        if (asked.rating, asked.comment) == before:  # widgets that are going away may report once more what they had
            return
        if asked.log_state:
            answer_log().submit(asked)
        if on_rated is not None:
            on_rated(asked)

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Rate this answer", width="content")
        st.feedback("thumbs", key=thumbs, on_change=rated)
        _log_state(asked, place)
    if asked.rating or asked.comment:
        st.text_input("Comment", key=comment, on_change=rated, max_chars=MAX_COMMENT, placeholder="What about it?")


def _log_state(asked: Asked, place: str) -> None:
    """Whether MLflow has an answer; looks again while it is on its way there."""
    if not asked.log_state:
        return
    begun = asked.log_state

    def draw() -> None:
        if asked.log_state == "waiting":
            st.caption("Logging to MLflow", width="content")
        elif begun == "waiting":
            st.rerun()
        elif asked.log_state == "logged":
            address = _link(asked)
            if address:
                st.link_button("Open in MLflow", address, type="tertiary", icon=":material/open_in_new:")
        else:
            st.caption(escaped(f"Not logged: {asked.log_error}"), width="content")
            st.button("Log again", key=f"again-{place}-{asked.id}", on_click=answer_log().submit, args=(asked,))

    st.fragment(draw, run_every="1s" if begun == "waiting" else None)()


def _link(asked: Asked) -> str | None:
    """Where MLflow's UI shows an answer."""
    with show_errors(f"link-{asked.id}"):
        experiment = _experiment()
        if experiment and asked.run_id:
            return answer_link(asked.run_id, experiment)
    return None


@st.cache_data(ttl="60s", show_spinner=False)
def _experiment() -> str | None:
    return answers_experiment()
