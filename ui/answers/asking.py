"""A question on its way through the worker, as a page sees it: what it waits for, how far it is, what came of it.

No Streamlit here: pages keep an `Asking` in the session's state and draw it as often as they like.
"""

import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks.base import Row
from tasks.registry import RegisteredVersion
from tasks.runtime.jobs import OVER, Job, JobCancelled

STOPPED = "stopped by you"
MEASURABLE_S = 0.5  # a speed over less time than this is noise
PARTIAL = {"piece", "step", "steps"}  # the keys of events before the last
ORDINALS = {1: "st", 2: "nd", 3: "rd"}


@dataclass
class Asking:
    """A row that was put to a registered version.

    Attributes:
        reference: the version as name/version; `model` is what people call it.
        started: when it was asked, on the monotonic clock; `at` is the same on the calendar.
        finished: when it was seen to be over; None before.
        events: what has come so far, without the whole row at the end.
        result: the whole row, once it is there.
        error: what ended it, other than its being stopped.
        seen_first: when the first pieces were seen, and how many.
        told: whether the page has handed it to whom it concerns (the history).
        hidden: whether the page keeps the model's name back: until a blind comparison is decided.
    """

    job: Job
    task: str
    reference: str
    model: str
    row: dict[str, Any]
    parameters: dict[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    seen_first: tuple[float, int] | None = None
    finished: float | None = None
    events: list[Row] = field(default_factory=list)
    result: Row | None = None
    error: Exception | None = None
    stopped: bool = False
    told: bool = False
    hidden: bool = False

    @classmethod
    def of(
        cls, job: Job, version: RegisteredVersion, row: Row, parameters: Mapping[str, Any], hidden: bool = False
    ) -> "Asking":
        """The asking of a job that was just submitted."""
        return cls(job, version.task, version.key, version.model, dict(row), dict(parameters), hidden=hidden)

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.finished is not None

    def await_news(self, seconds: float) -> None:
        """Wait for the first event, or, where that was seen, for the end; no longer than this."""
        if self.events:
            self.await_end(seconds)
        elif seconds > 0 and not self.over:
            _error_of(lambda: next(self.job.events(seconds), None))  # `update` reads it

    def await_end(self, seconds: float) -> None:
        """Wait for the end, no longer than this."""
        if seconds > 0 and not self.over:
            _error_of(lambda: self.job.result(seconds))  # `update` reads it

    def update(self, wait: float = 0.0) -> None:
        """Take in what has come; waits up to `wait` seconds for news, and no longer than that."""
        if self.over:
            return
        self.await_news(wait)
        ended = self.job.state in OVER
        events: list[Row] = []
        error = _error_of(lambda: _read(self.job, events))
        # The whole row is the last event, and may be there a moment before the job is over.
        self.events = [event for event in events if event.keys() <= PARTIAL]
        if self.seen_first is None and self._pieces():
            self.seen_first = time.monotonic(), self._pieces()
        if ended:
            self.finished = time.monotonic()
            if error is None:
                self.result = events[-1]
            else:
                self.stopped = isinstance(error, JobCancelled)
                # A time limit or a closing worker cancels too: then the text says so.
                self.error = None if str(error) == STOPPED else error

    def stop(self) -> None:
        """Stop it: before the next token or step."""
        self.job.cancel(STOPPED)

    @property
    def text(self) -> str:
        """What was written so far."""
        return "".join(event["piece"] for event in self.events if "piece" in event)

    @property
    def took(self) -> float:
        """Seconds that the model took; of an answer without a row, those since it was asked."""
        return self.seconds if self.result is None else self.result["seconds"]

    @property
    def seconds(self) -> float:
        """Since it was asked, until its end."""
        return (self.finished or time.monotonic()) - self.started

    @property
    def tokens(self) -> int | None:
        """Tokens written or read, as the result counts them; of what is still coming, how many pieces came."""
        if self.result is not None:
            return self.result.get("tokens")
        return self._pieces() or None

    @property
    def tokens_per_second(self) -> float | None:
        """As the model measured it; while it is coming, as it is seen here. None where nothing is written."""
        if self.result is not None:
            return self.result.get("tokens_per_second")
        if self.seen_first is None:
            return None
        first, pieces = self.seen_first
        seconds = (self.finished or time.monotonic()) - first
        more = self._pieces() - pieces
        return more / seconds if more and seconds >= MEASURABLE_S else None

    def _pieces(self) -> int:
        return sum("piece" in event for event in self.events)

    def state(self) -> str:
        """What it is doing."""
        if self.over:
            return "stopped" if self.stopped else "failed" if self.error else "done"
        state = self.job.state
        if state == "queued":
            place = self.job.position
            return f"waiting, {'next' if place == 1 else ordinal(place)} in the queue" if place else "starting"
        if state == "loading":
            return "loading the model"
        steps = [event for event in self.events if "step" in event]
        if steps:
            return f"step {steps[-1]['step']} of {steps[-1]['steps']}"
        return "writing" if self.events else "working"

    def facts(self) -> str:
        """Tokens, speed, time, device and model of an answer, in a line."""
        took, speed = self.took, self.tokens_per_second
        waited = self.seconds - took
        return " · ".join(
            part
            for part in (
                self.tokens is not None and f"{self.tokens:,} {'token' if self.tokens == 1 else 'tokens'}",
                speed is not None and f"{speed:.1f} tokens/s",
                in_seconds(took),
                waited >= 1 and f"waited and loaded for {in_seconds(waited)}",
                self.over and device(),
                f"{self.model} ({self.reference})",
            )
            if part
        )


def _error_of(work: Callable[[], object]) -> Exception | None:
    """What a call raises, if it does: the error that ended a job, or TimeoutError for one that is not over."""
    try:
        work()
    except Exception as error:
        return error
    return None


def _read(job: Job, events: list[Row]) -> None:
    """Add the events that there are; raises what ended the job, or TimeoutError if more may come."""
    for event in job.events(timeout=0):
        events.append(event)  # one by one: those before an error count


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    teens = 10 <= number % 100 <= 20
    return f"{number}{'th' if teens else ORDINALS.get(number % 10, 'th')}"


def in_seconds(seconds: float) -> str:
    """A time with as many digits as it is worth."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def device() -> str:
    """Where models run here: CPU, or the GPU's name."""
    torch = sys.modules.get("torch")
    if torch is None:  # loading it for this word would take seconds: models on llama.cpp need none
        return "CPU"
    from tasks.engines.devices import pick_device

    chosen = pick_device("auto").type
    return torch.cuda.get_device_name() if chosen == "cuda" else chosen.upper()
