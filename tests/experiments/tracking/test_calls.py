"""Calls to a server that is away, in their order, without a server and without waiting."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from experiments.tracking import calls
from experiments.tracking.calls import FIRST_PAUSE_S, LEAST_S, LONGEST_PAUSE_S, MOST_FAILURES, Calls
from experiments.tracking.tracker import Tracker
from tasks.runs import StoreUnreachableError
from tests.support.runs import histories

SERVER = "http://ada:secret@127.0.0.1:1"


class Outage:
    """Whether the server answers, a clock, and the pauses that the thread makes, each of which passes at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away, self.lasts, self.time, self.pauses = False, 10**9, 0.0, []
        self.stepped = threading.Event()
        monkeypatch.setattr(calls, "answers", self._answers)
        monkeypatch.setattr(calls, "POLL_S", 0.01)

    def _answers(self, _: str) -> bool:
        if threading.current_thread() is threading.main_thread():
            self.time += 1.0  # a question that gets no answer takes its time
        return not self.away

    def wait(self, pause: float) -> None:
        """In place of the thread's event."""
        self.pauses.append(pause)
        self.away = len(self.pauses) < self.lasts
        if self.lasts == 10**9:
            self.stepped.wait()

    def set(self) -> None: ...

    clear = set

    def background(self, patience: float = 0.0) -> Calls:
        made = Calls(SERVER, patience, clock=lambda: self.time)
        made._wake = self  # type: ignore[assignment]
        return made


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    made = Outage(monkeypatch)
    yield made
    made.stepped.set()


def test_the_pauses_grow_and_the_order_stays(outage: Outage, capsys: pytest.CaptureFixture[str]) -> None:
    outage.away, outage.lasts = True, 7
    background, done = outage.background(patience=10.0**9), []
    for number in range(3):
        background.later(lambda number=number: done.append(number))
    assert background.now(lambda: "the answer") == "the answer" and done == [0, 1, 2]
    assert outage.pauses == [FIRST_PAUSE_S, 10.0, 20.0, 40.0, 80.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "warning: http://127.0.0.1:1 does not answer; what it misses is logged when it is back",
        "the tracking server answers again",
    ]


def test_the_end_gives_up_a_server_that_is_away_and_asks_no_more(outage: Outage) -> None:
    outage.away = True
    background, done = outage.background(), []
    background.later(lambda: done.append(1))
    with pytest.raises(StoreUnreachableError, match=r"^http://127\.0\.0\.1:1 does not answer$"):
        background.now(lambda: done.append(2))
    assert outage.time <= LEAST_S + 1
    before = outage.time
    with pytest.raises(StoreUnreachableError):
        background.now(lambda: done.append(3))
    assert outage.time == before and done == []


def test_a_long_training_waits_for_a_hundredth_of_its_time(outage: Outage) -> None:
    outage.away = True
    background = outage.background()
    outage.time = 1000.0
    with pytest.raises(StoreUnreachableError):
        background.now(lambda: None)
    assert 1010 <= outage.time <= 1012


def test_a_server_that_is_there_and_fails_every_time_is_given_up(outage: Outage) -> None:
    tries, outage.lasts = [], 0

    def fail() -> None:
        tries.append(1)
        raise RestException({"error_code": "INTERNAL_ERROR", "message": "the disk of the server is full"})

    with pytest.raises(StoreUnreachableError, match=r"does not answer .*the disk of the server is full"):
        outage.background().now(fail)
    assert len(tries) >= MOST_FAILURES


def test_a_refusal_is_raised_at_the_next_call_and_the_rest_is_done(outage: Outage) -> None:
    background, done = outage.background(), []

    def refused() -> None:
        raise RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "the run is deleted"})

    background.later(refused)
    with pytest.raises(MlflowException, match="the run is deleted"):
        background.now(lambda: done.append(1))
    assert done == [1] and background.now(lambda: 2) == 2


def test_what_got_through_although_the_answer_was_lost_is_not_logged_twice(
    store: Path, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, asked = MlflowClient(), []
    honest = client.log_batch
    outage.lasts = 0

    def log_batch(*given: object, **more: list) -> None:
        asked.append(sorted({metric.step for metric in more["metrics"]}))
        honest(*given, **more)  # type: ignore[arg-type]
        if len(asked) == 1:
            raise MlflowException("API request to http://127.0.0.1:1 failed with exception: connection lost")

    monkeypatch.setattr(client, "log_batch", log_batch)
    run = client.create_run("0")
    held = threading.Event()
    background = outage.background()
    tracker = Tracker(client, run, {1}, background)
    background.later(held.wait)
    for epoch in range(1, 6):
        tracker.log_epoch(epoch, {"val_loss": epoch / 2, "val_accuracy": 0.5})
    held.set()
    tracker.flush()
    assert asked == [[2, 3, 4, 5]]  # the missing epochs in one call; the first one was known
    tracker.log_final({"test_loss": 1.0}, step=3)
    tracker.log_final({"test_loss": 2.0}, step=3)
    tracker.flush()
    assert asked == [[2, 3, 4, 5], [3]]
    found = histories(run.info.run_id)
    assert [step for step, _ in found["val_loss"]] == [2, 3, 4, 5] and found["test_loss"] == [(3, 1.0)]
