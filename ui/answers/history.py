"""What a visitor asked and was answered in this session: kept newest first, bounded, given away as JSON or CSV.

The list lives in the visitor's `st.session_state` and nowhere else: `history` gives it, `remember` adds to it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.runs.answers import Answer
from ui.answers.answer import Asked
from ui.answers.answer_log import AnswerLog
from ui.answers.tables import as_csv, as_json

MAX_ANSWERS = 200
MAX_BYTES = 50 * 10**6  # a visitor's: a picture may be a megabyte or more
HISTORY, DROPPED, LOGGING = "history", "history-dropped", "history-log-answers"
SAID = ("model", "seconds", "tokens")  # of a result: they have columns of their own


def remember(asked: Asked) -> None:
    """Keep an answer in this visitor's history, and log it to MLflow if they want that."""
    if any(one.id == asked.id for one in history()):  # a page that is drawn anew may tell it twice
        return
    st.session_state[DROPPED] = st.session_state.get(DROPPED, 0) + add(asked, history())
    if st.session_state.get(LOGGING):
        answer_log().submit(asked)


def history() -> list[Asked]:
    """This visitor's answers, newest first: the list itself."""
    return st.session_state.setdefault(HISTORY, [])


def forget(task: str) -> None:
    """Empty this visitor's history of a task; what MLflow has, it keeps."""
    history()[:] = [one for one in history() if one.task != task]
    st.session_state[DROPPED] = 0


@st.cache_resource(show_spinner=False, on_release=AnswerLog.close)
def answer_log() -> AnswerLog:
    """The server's one writer of answers to MLflow."""
    return AnswerLog()


def add(asked: Asked, kept: list[Asked], max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> int:
    """Put an answer first. It always stays.

    Returns how many of the oldest were dropped to stay within the bounds.
    """
    kept.insert(0, asked)
    total, fits = 0, 0
    for one in kept[:max_answers]:
        total += size(one.row) + size(one.result)
        if fits and total > max_bytes:
            break
        fits += 1
    dropped = len(kept) - fits
    del kept[fits:]
    return dropped


def size(value: Any) -> int:
    """About how many bytes a value of a row takes."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(str(key)) + size(part) for key, part in value.items())
    if isinstance(value, Sequence):
        return sum(size(part) for part in value)
    return 8


def history_json(answers: Sequence[Asked]) -> str:
    """All that is known of the answers, pictures included."""
    return as_json(
        [described(one) | {"row": one.row, "parameters": one.parameters, "result": one.result} for one in answers]
    )


def history_csv(answers: Sequence[Asked]) -> bytes:
    """A line an answer: inputs, settings and outputs as columns of their own; of pictures their size."""
    return as_csv(
        {
            **described(one),
            **{f"input {name}": value for name, value in one.row.items()},
            **{f"output {name}": value for name, value in one.result.items() if name not in SAID},
            **{f"setting {name}": value for name, value in one.parameters.items()},
        }
        for one in answers
    )


def from_mlflow(answer: Answer) -> Asked:
    """An answer that MLflow has, as one of this visitor's."""
    return Asked(**vars(answer), run_id=answer.id, log_state="logged")


def described(asked: Asked) -> dict[str, Any]:
    """Facts about an answer besides its input and output."""
    return {
        "at": asked.at.isoformat(timespec="seconds"),
        "task": asked.task,
        "model": asked.model,
        "reference": asked.reference,
        "seconds": asked.seconds,
        "tokens": asked.tokens,
        "stopped": asked.stopped,
        "rating": asked.rating,
        "comment": asked.comment,
        "mlflow": asked.run_id,
    }
