"""A task of no weights for batches, and rows for it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from tasks.base import ModelFolderError, TaskInputError
from tests.support.weightless import Weightless
from ui.answers.batch_file import BatchLine


class Upper(Weightless):
    """Writes a text in capitals; some words do otherwise."""

    name = "upper"
    answered: list[str] = []
    hold: threading.Event | None = None

    def answer(self, rows: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
        return [{"label": row["text"], **parameters} for row in rows]

    def stream_answer(self, row: Any, parameters: Any, cancel: Any) -> Iterator:
        text = row["text"]
        if text == "bad" or parameters:
            raise TaskInputError("text is 'bad'; valid: anything else")
        if text == "crash":
            raise ZeroDivisionError("internal")
        if text == "gone":
            raise ModelFolderError("the model's files are gone")
        while self.hold is not None and not self.hold.is_set() and not cancel():
            yield {"piece": ""}
            time.sleep(0.005)
        self.answered.append(text)
        return {"label": text.upper(), "scores": [1, 2]}


def lines(*texts: str, **more: str) -> list[BatchLine]:
    return [BatchLine({"text": text, **more}, {"text": text}) for text in texts]
