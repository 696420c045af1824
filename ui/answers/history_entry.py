"""An answer of the history, opened: what went in and came out, its rating, and what can be done with it."""

import json
import logging
from collections.abc import Callable

import streamlit as st

from tasks.runs.answers import AnswerNotFoundError, delete_answer
from ui.answers.answer import Asked
from ui.answers.asking import in_seconds
from ui.answers.history import answer_log, history_json
from ui.answers.rating import draw_rating
from ui.answers.tables import picture, short
from ui.panels import panel
from ui.plain import escaped
from ui.session import show_errors

logger = logging.getLogger(__name__)


def draw_entry(asked: Asked, reuse: Callable[[Asked], None], place: str, on_delete: Callable[[], None]) -> None:
    """What went in and came out, and what can be done with it.

    Args:
        place: distinguishes the lists of one page.
        on_delete: called when it was deleted in MLflow.
    """
    st.caption("Input")
    _draw_row(asked)
    st.caption("Output, until it was stopped" if asked.stopped else "Output")
    _draw_result(asked, f"history-{place}-{asked.id}")
    settings = ", ".join(
        f"{name} {value}" for name, value in asked.parameters.items() if value not in (None, "", False)
    )
    facts = [f"{asked.model} ({asked.reference})", in_seconds(asked.seconds), settings]
    if asked.tokens is not None:
        facts.insert(1, f"{asked.tokens:,} tokens")
    st.caption(escaped(" · ".join(part for part in facts if part)))
    with st.container(horizontal=True):
        st.button(
            "Use this input again",
            key=f"reuse-{place}-{asked.id}",
            icon=":material/replay:",
            on_click=reuse,
            args=(asked,),
        )
        st.download_button(
            "JSON",
            lambda: history_json([asked]),
            f"answer-{asked.id[:12]}.json",
            "application/json",
            key=f"json-{place}-{asked.id}",
            icon=":material/download:",
            on_click="ignore",
        )
        if not asked.log_state:
            st.button(
                "Log to MLflow",
                key=f"log-{place}-{asked.id}",
                icon=":material/upload:",
                help="Everyone who uses this MLflow can then read it.",
                on_click=answer_log().submit,
                args=(asked,),
            )
        if asked.run_id and place == "session":
            with st.popover("Delete from MLflow", icon=":material/delete:"):
                st.write("Delete the logged answer with its rating? It stays in this session's history.")
                if st.button("Delete it", key=f"delete-{place}-{asked.id}", type="primary"):
                    _delete(asked, on_delete)
    draw_rating(asked, place)


def _draw_row(asked: Asked) -> None:
    """What went in: pictures, the messages of a talk, the rest as text."""
    for column, value in asked.row.items():
        content = picture(value)
        name = f"{column}: " if len(asked.row) > 1 else ""
        if content is not None:
            _draw_picture(content)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for message in value:
                st.text(f"{message.get('role', '')}: {message.get('content', '')}")
        elif value is not None:
            st.text(name + (value if isinstance(value, str) else short(value, 400)))


def _draw_picture(content: bytes) -> None:
    try:
        st.image(content, width=160)
    except (OSError, ValueError):  # it only begins like one
        st.text(f"{len(content):,} bytes that are no picture")


def _draw_result(asked: Asked, key: str) -> None:
    """What came out, as the task's panel shows it; what an older version of it logged may look otherwise."""
    if asked.stopped:
        st.text(str(asked.result.get("partial", "")))
        return
    try:
        panel(asked.task).draw_answer(asked.row, asked.result, key)
    except (KeyError, TypeError, ValueError, AttributeError):
        logger.exception("the panel of %s cannot draw answer %s", asked.task, asked.id)
        st.json(json.dumps(asked.result, default=str))


def _delete(asked: Asked, on_delete: Callable[[], None]) -> None:
    with show_errors(f"delete-{asked.id}"):
        try:
            delete_answer(asked.run_id or "")
        except AnswerNotFoundError:
            logger.info("answer %s was deleted already", asked.run_id)
        asked.run_id, asked.log_state = None, ""
        on_delete()
        st.rerun()
