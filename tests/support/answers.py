"""Answers of the tool, as its history keeps them."""

from datetime import UTC, datetime
from typing import Any

from tests.support.words import until
from ui.answers.answer import Asked

AT = datetime(2026, 5, 1, 12, 30, 15, tzinfo=UTC)


def asked(number: int = 0, **changes: Any) -> Asked:
    given = {
        "id": str(number),
        "at": AT,
        "task": "sentiment-analysis",
        "reference": "sentiment-analysis/1",
        "model": "tiny",
        "row": {"text": f"text {number}"},
        "parameters": {},
        "result": {"label": "positive", "score": 0.75, "scores": {"positive": 0.75}},
        "seconds": 0.5,
        "tokens": 3,
        "stopped": False,
    }
    return Asked(**{**given, **changes})


def finished(one: Asked) -> Asked:
    """An answer that is on its way to MLflow, once it is there or failed."""
    until(lambda: one.log_state != "waiting")
    return one
