"""The history on the page: what this visitor asked, what MLflow has; each to be opened, rated, used again."""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from tasks.runs.answers import Answer, AnswerNotFoundError, delete_answer, read_answer, recent_answers
from ui.answers.answer import Asked
from ui.answers.asking import in_seconds
from ui.answers.history import (
    DROPPED,
    MAX_ANSWERS,
    MAX_BYTES,
    answer_log,
    forget,
    from_mlflow,
    history,
    history_csv,
    history_json,
)
from ui.answers.rating import draw_log_switch, draw_rating
from ui.answers.tables import picture, short
from ui.panels import panel
from ui.plain import escaped
from ui.session import show_errors

PAGE = 10
FROM_MLFLOW = 50
SESSION, MLFLOW = "This session", "MLflow"
OPENED = "history-opened"  # what was read from MLflow, by its id
RATINGS = {1: ":material/thumb_up:", -1: ":material/thumb_down:"}

logger = logging.getLogger(__name__)

__all__ = ["draw_history", "draw_log_switch", "draw_rating"]


def draw_history(task: str, reuse: Callable[[Asked], None]) -> None:
    """What was asked of a task: in this session, or as MLflow has it.

    Args:
        reuse: puts an old question into the form; called before the page is drawn again.
    """
    draw_log_switch("history")
    source = st.segmented_control(
        "Answers of", [SESSION, MLFLOW], key="history-source", default=SESSION, required=True, persist_state="session"
    )
    if source == MLFLOW:
        with show_errors("history"):
            _draw_mlflow(task, reuse)
    else:
        _draw_session(task, reuse)


def _draw_session(task: str, reuse: Callable[[Asked], None]) -> None:
    answers = [one for one in history() if one.task == task]
    dropped = st.session_state.get(DROPPED, 0)
    if dropped:
        st.caption(
            f"{dropped} of the oldest answers were dropped: the history keeps {MAX_ANSWERS} answers "
            f"or {MAX_BYTES / 1e6:.0f} MB of all tasks together."
        )
    if not answers:
        st.info("Nothing has been asked in this session yet.", icon=":material/history:")
        return
    with st.container(horizontal=True):
        _downloads(answers, task, "session")
        with st.popover("Clear", icon=":material/delete:"):
            st.write("Forget this session's answers of this task? What was logged stays in MLflow.")
            st.button("Clear them", key="history-clear", type="primary", on_click=forget, args=(task,))
    for one in _page_of(answers, "session"):
        _draw_entry(one, lambda one=one: one, reuse, "session")


def _draw_mlflow(task: str, reuse: Callable[[Asked], None]) -> None:
    st.caption(f"The {FROM_MLFLOW} newest logged answers, of all users and sessions.")
    answers = [from_mlflow(one) for one in _recent(task)]
    with st.container(horizontal=True):
        st.button("Refresh", icon=":material/refresh:", key="history-refresh", on_click=_forget_read)
        if answers:
            _downloads(answers, task, "mlflow")
    if not answers:
        st.info("No answers of this task are logged in MLflow yet.", icon=":material/history:")
    for one in _page_of(answers, "mlflow"):
        _draw_entry(one, lambda one=one: _whole(one), reuse, "mlflow")


def _draw_entry(asked: Asked, whole: Callable[[], Asked | None], reuse: Callable[[Asked], None], place: str) -> None:
    """A line of the list; what is in it is drawn when it is opened."""
    asked = st.session_state.get(OPENED, {}).get(asked.id, asked) if place == "mlflow" else asked
    parts = [when(asked.at), asked.model, f"{short(asked.row)} → {outcome(asked)}", in_seconds(asked.seconds)]
    entry = st.expander(
        escaped(" · ".join(parts)),
        key=f"history-{place}-{asked.id}",
        icon=RATINGS.get(asked.rating or 0),
        on_change="rerun",
    )
    if entry.open:
        with entry:
            opened = whole()
            if opened is not None:
                _draw_whole(opened, reuse, place)


def _draw_whole(asked: Asked, reuse: Callable[[Asked], None], place: str) -> None:
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
                    _delete(asked)
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


def _delete(asked: Asked) -> None:
    with show_errors(f"delete-{asked.id}"):
        try:
            delete_answer(asked.run_id or "")
        except AnswerNotFoundError:
            logger.info("answer %s was deleted already", asked.run_id)
        asked.run_id, asked.log_state = None, ""
        _forget_read()
        st.rerun()


def _downloads(answers: Sequence[Asked], task: str, place: str) -> None:
    """Take the list along: made when it is asked for, with pictures and long texts, which MLflow keeps apart."""

    def whole() -> Sequence[Asked]:
        return _all_whole(answers) if place == "mlflow" else answers

    for label, make, mime in (
        ("JSON", lambda: history_json(whole()), "application/json"),
        ("CSV", lambda: history_csv(whole()), "text/csv"),
    ):
        st.download_button(
            f"Download {label}",
            make,
            f"{task}-history.{label.lower()}",
            mime,
            on_click="ignore",
            key=f"history-{place}-{label}",
            icon=":material/download:",
        )


def _page_of(answers: Sequence[Asked], place: str) -> Sequence[Asked]:
    pages = -(-len(answers) // PAGE)
    if pages <= 1:
        return answers
    page = st.pagination(pages, key=f"history-page-{place}-{pages}")
    return answers[(page - 1) * PAGE : page * PAGE]


@st.cache_data(ttl="10s", show_spinner="Reading MLflow")
def _recent(task: str) -> list[Answer]:
    return recent_answers(task, FROM_MLFLOW)


def _whole(asked: Asked) -> Asked | None:
    """An answer of the list with its pictures; read once, so that its rating may change here."""
    opened: dict[str, Asked] = st.session_state.setdefault(OPENED, {})
    if asked.id not in opened:
        try:
            opened[asked.id] = from_mlflow(read_answer(asked.id))
        except AnswerNotFoundError as error:
            st.warning(escaped(str(error)))
            return None
        while len(opened) > PAGE:
            del opened[next(iter(opened))]
    return opened[asked.id]


def _all_whole(answers: Sequence[Asked]) -> list[Asked]:
    """Answers of the list as MLflow has them; without those that were deleted meanwhile."""
    found = []
    for one in answers:
        try:
            found.append(from_mlflow(read_answer(one.id)))
        except AnswerNotFoundError:
            logger.info("answer %s was deleted meanwhile", one.id)
    return found


def _forget_read() -> None:
    st.session_state.pop(OPENED, None)
    _recent.clear()


def outcome(asked: Asked) -> str:
    """The answer in a few words: the first column of a result is what was asked for."""
    first = short(next(iter(asked.result.values()), ""))
    return f"{first} (stopped)" if asked.stopped else first or "nothing"


def when(at: datetime) -> str:
    """A time where the visitor is; with its day, if that is another one than today."""
    zone = st.context.timezone
    there = at.astimezone(ZoneInfo(zone) if zone else None)
    today = datetime.now(there.tzinfo).date()
    return there.strftime("%H:%M:%S" if there.date() == today else "%d %b %Y %H:%M")
