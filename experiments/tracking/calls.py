"""Calls of a run to its tracking store: at once, or, to a server, from a thread that a training does not wait for.

A call that the server does not answer is made again, after growing pauses, before those that came after it.
"""

import re
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

import requests
from mlflow.exceptions import MlflowException, RestException

from experiments.tracking.store import answers
from tasks.runs import StoreUnreachableError

# Pauses between two tries, in seconds: doubled after each.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 120.0
# How long an end waits for a server that does not answer: this fraction of the run's time, within these seconds.
FRACTION, LEAST_S, MOST_S = 0.01, 1.5, 30.0
POLL_S = 0.5
MOST_FAILURES = 4  # of calls in a row, by a server that answers the question whether it is there
# What MLflow calls the troubles of a server that is worth asking again.
AWAY_CODES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}

Result = TypeVar("Result")


class Calls:
    """Calls to a store on this machine, made at once, or to a server, made in order by one thread.

    What the server refuses is raised at the next call.

    Args:
        server: its address; empty for a store on this machine.
        patience: seconds that `now` waits for a server that does not answer; 0 for a fraction of the run's time.
    """

    def __init__(self, server: str, patience: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._server, self._patience, self._clock = server, patience, clock
        self._begun = clock()
        self._queue: SimpleQueue[tuple[Callable[[], object], Future[Any]] | None] = SimpleQueue()
        self._wake = threading.Event()
        self._refusals: list[BaseException] = []
        self._reason, self._failures, self._given_up, self._hurried = "", 0, False, False
        if server:
            threading.Thread(target=self._work, daemon=True, name="tracking").start()

    def later(self, call: Callable[[], object]) -> None:
        """Have a call made, without waiting for it. Raises what the server said to refuse an earlier one."""
        if not self._server:
            call()
            return
        self._raise_refusal()
        self._put(call).add_done_callback(self._note_refusal)

    def now(self, call: Callable[[], Result]) -> Result:
        """Make a call after all that were to be made before, and wait for it as long as the server answers.

        Raises StoreUnreachableError if it does not: from then on no call is made. Also raises what it refuses.
        """
        if not self._server:
            return call()
        future, answered, failures = self._put(call), self._clock(), self._failures
        while not self._given_up and not wait([future], POLL_S).done:
            if answers(self._server):
                answered = self._clock()
                self._wake.set()
            late = self._clock() - answered >= self._allowance()
            self._given_up = late or self._failures - failures >= MOST_FAILURES
        if not future.done():
            raise StoreUnreachableError(self._reason or "the tracking server does not answer")
        self._raise_refusal()
        return future.result()

    def hurry(self) -> None:
        """Have no more patience than usual; what was refused matters no more."""
        self._patience, self._hurried = 0.0, True
        self._refusals.clear()

    def close(self) -> None:
        """Let the thread end when it has made the calls."""
        self._queue.put(None)
        self._wake.set()

    def _put(self, call: Callable[[], object]) -> "Future[Any]":
        future: Future[Any] = Future()
        if not self._given_up:
            self._queue.put((call, future))
        return future

    def _allowance(self) -> float:
        return self._patience or max(LEAST_S, min(FRACTION * (self._clock() - self._begun), MOST_S))

    def _note_refusal(self, done: "Future[Any]") -> None:
        error = done.exception()
        if error is not None and not self._hurried:
            self._refusals.append(error)

    def _raise_refusal(self) -> None:
        if self._refusals:
            error = self._refusals[0]
            self._refusals.clear()
            raise error

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._make(*entry)

    def _make(self, call: Callable[[], object], future: "Future[Any]") -> None:
        """Make a call until the server has answered it, or the run has given up."""
        pause = FIRST_PAUSE_S
        while not self._given_up:
            why = ""
            if answers(self._server):
                try:
                    future.set_result(call())
                except BaseException as error:  # of whatever kind: a caller may wait for it
                    if not _is_absence(error):
                        future.set_exception(error)
                        return
                    self._failures += 1
                    why = _answer_in(error)
                else:
                    self._say_back()
                    return
            self._say_away(f"{self._server} does not answer{why}")
            self._wake.wait(pause)
            self._wake.clear()
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _say_away(self, reason: str) -> None:
        reason = re.sub(r"//[^/@\s]*@", "//", reason)  # without names and passwords
        if not self._reason:
            print(f"warning: {reason}; what it misses is logged when it is back", file=sys.stderr)
        self._reason = reason

    def _say_back(self) -> None:
        if self._reason:
            print("the tracking server answers again", file=sys.stderr)
        self._reason = ""


def _is_absence(error: BaseException) -> bool:
    """Whether MLflow raises an error because the server does not answer; refusals are answers."""
    if isinstance(error, MlflowException):
        asked = isinstance(error, RestException) or str(error).startswith("API request to")
        return asked and error.error_code in AWAY_CODES
    if isinstance(error, requests.RequestException):
        return error.response is None or error.response.status_code >= 500
    return False


def _answer_in(error: BaseException) -> str:
    """What a server that is there says of its troubles, in brackets; empty if nothing answered."""
    text = " ".join(str(error).split())
    answered = isinstance(error, RestException) or getattr(error, "response", None) is not None
    return f" ({text[-160:]})" if answered or "error responses" in text else ""
