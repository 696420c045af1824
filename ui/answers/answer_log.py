"""Answers on their way to MLflow: written one after another on a thread of its own, so that no page waits for it.

No Streamlit here. Failures are shown at the answer, which stays where it was, and can be logged again.
"""

import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Callable

from tasks.registry import ModelNotFoundError, find
from tasks.runs import StoreUnreachableError, readable_errors
from tasks.runs.answers import Answer, AnswerNotFoundError, log_answer, rate_answer
from tasks.runs.attachments import AnswerTooLargeError
from ui.answers.answer import Asked

logger = logging.getLogger(__name__)

MAX_WAITING = 500


class AnswerLog:
    """Writes answers and their ratings to MLflow in the order in which they were given. One a server."""

    def __init__(
        self,
        write: Callable[[Answer, str], str] = log_answer,
        rate: Callable[[str, int | None, str], None] = rate_answer,
    ) -> None:
        """Start the thread. Args: write, rate: what tests replace."""
        self._write, self._rate = write, rate
        self._waiting: queue.Queue[Asked | None] = queue.Queue(MAX_WAITING)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="answer-log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(self, asked: Asked) -> None:
        """Have an answer written, or, if MLflow has it, its rating; `log_state` says when that is done."""
        asked.log_state, asked.log_error = "waiting", ""
        try:
            if self._closed:
                raise queue.Full
            self._waiting.put_nowait(asked)
        except queue.Full:
            asked.log_state = "failed"
            asked.log_error = "too many answers wait to be logged; try again later"

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits, as far as that takes no longer than `timeout` seconds, and end the thread."""
        self._closed = True
        with contextlib.suppress(queue.Full):  # then the store has not answered for long: no use to wait for it
            self._waiting.put_nowait(None)
        self._thread.join(timeout)
        atexit.unregister(self.close)

    def _work(self) -> None:
        while (asked := self._waiting.get()) is not None:
            try:
                self._bring(asked)
                asked.log_state = "logged"
            except AnswerNotFoundError as error:
                asked.run_id = None  # it was deleted there: the next time, it is logged anew
                self._fail(asked, str(error))
            except (StoreUnreachableError, AnswerTooLargeError) as error:
                self._fail(asked, str(error))
            except Exception as error:
                logger.exception("the answer %s was not logged", asked.id)
                self._fail(asked, f"{type(error).__name__}; the terminal of the tool says more")

    def _bring(self, asked: Asked) -> None:
        is_new = asked.run_id is None
        if asked.run_id is None:
            asked.run_id = self._write(asked, logged_model(asked.reference))
        if not is_new or asked.rating or asked.comment:
            self._rate(asked.run_id, asked.rating, asked.comment)

    def _fail(self, asked: Asked, reason: str) -> None:
        asked.log_error = reason
        asked.log_state = "failed"


def logged_model(reference: str) -> str:
    """The id of MLflow's logged model behind a registered version; empty if it was unregistered meanwhile."""
    try:
        with readable_errors():
            return find(reference).model_id
    except ModelNotFoundError:
        return ""
