"""The history on the page: what this visitor asked, what MLflow has; each to be opened, rated, used again."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from tasks.runs.answers import Answer, AnswerNotFoundError, read_answer, recent_answers
from ui.answers.answer import Asked
from ui.answers.asking import in_seconds
from ui.answers.history import (
    DROPPED,
    MAX_ANSWERS,
    MAX_BYTES,
    forget,
    from_mlflow,
    history,
    history_csv,
    history_json,
)
from ui.answers.history_entry import draw_entry
from ui.answers.rating import draw_log_switch
from ui.answers.tables import short
from ui.plain import escaped
from ui.session import show_errors

PAGE = 10
FROM_MLFLOW = 50
SESSION, MLFLOW = "This session", "MLflow"
OPENED = "history-opened"  # what was read from MLflow, by its id
RATINGS = {1: ":material/thumb_up:", -1: ":material/thumb_down:"}

logger = logging.getLogger(__name__)


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
                draw_entry(opened, reuse, place, _forget_read)


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


def when(at: datetime) -> str:
    """A time where the visitor is; with its day, if that is another one than today."""
    zone = st.context.timezone
    there = at.astimezone(ZoneInfo(zone) if zone else None)
    today = datetime.now(there.tzinfo).date()
    return there.strftime("%H:%M:%S" if there.date() == today else "%d %b %Y %H:%M")


def outcome(asked: Asked) -> str:
    """The answer in a few words: the first column of a result is what was asked for."""
    first = short(next(iter(asked.result.values()), ""))
    return f"{first} (stopped)" if asked.stopped else first or "nothing"
