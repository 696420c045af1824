"""A question on its way: its state as text, what has come, how it ends."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.runtime.worker import Worker
from tests.support.gateway import version
from tests.support.words import MB, PATIENCE, Loads, until
from ui.answers import answering
from ui.answers import asking as asking_module
from ui.answers.asking import Asking, in_seconds, ordinal

VERSION = replace(version("words", "story-completion", 2), model="tiny words")


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def worker(loads: Loads) -> Iterator[Worker]:
    with Worker(loads, 100 * MB) as worker:
        yield worker


def ask(worker: Worker, text: str, pause_ms: int = 0) -> Asking:
    row, parameters = {"text": text}, {"pause_ms": pause_ms}
    return Asking.of(worker.submit("words/2", row, parameters), VERSION, row, parameters)


def finished(one: Asking) -> Asking:
    until(lambda: (one.update(0.05), one.over)[1])
    return one


def test_a_whole_answer_has_its_row_text_and_facts(worker: Worker) -> None:
    one = finished(ask(worker, "a b c"))
    assert one.result is not None and one.result["text"] == "a b c"
    assert one.text == "abc" and [event["piece"] for event in one.events] == ["a", "b", "c"]
    assert one.state() == "done" and one.error is None and not one.stopped
    assert one.took == one.result["seconds"] <= one.seconds + 0.1  # the job may begin before it is noted
    assert (one.task, one.reference, one.model) == ("story-completion", "words/2", "tiny words")
    assert one.facts().endswith("tiny words (words/2)") and asking_module.device() in one.facts()
    before = one.seconds
    one.update()
    assert one.seconds == before and one.text == "abc"  # the clock stands, and nothing is read twice


def test_it_says_what_it_waits_for(loads: Loads, worker: Worker) -> None:
    loads.gate.clear()
    one, *others = [ask(worker, "a") for _ in range(4)]
    until(lambda: one.job.state == "loading")
    for each in (one, *others):
        each.update()
    assert one.state() == "loading the model"
    assert [each.state() for each in others] == [
        "waiting, next in the queue",
        "waiting, 2nd in the queue",
        "waiting, 3rd in the queue",
    ]
    others[0].stop()
    others[0].update()
    assert others[0].over and others[1].state() == "waiting, next in the queue"
    loads.gate.set()
    assert [finished(each).state() for each in (one, *others)] == ["done", "stopped", "done", "done"]


def test_a_stopped_answer_keeps_what_was_written(worker: Worker) -> None:
    one = ask(worker, "word " * 2000, pause_ms=5)
    until(lambda: (one.update(), one.tokens_per_second is not None)[1])
    assert one.state() == "writing" and one.tokens == len(one.events) and 0 < (one.tokens_per_second or 0) < 200
    one.stop()
    finished(one)
    assert one.stopped and one.error is None and one.result is None
    assert one.text == "word" * len(one.events) and 3 < len(one.events) < 2000
    assert one.state() == "stopped" and "tokens/s" in one.facts()


def test_stopping_what_waits_leaves_nothing_and_is_no_error(loads: Loads, worker: Worker) -> None:
    loads.gate.clear()
    ask(worker, "a")
    one = ask(worker, "b")
    one.stop()
    one.update()
    loads.gate.set()
    assert one.over and one.stopped and one.error is None and one.events == []


def test_an_error_is_kept_and_told_from_a_stop(worker: Worker) -> None:
    failed = finished(ask(worker, "a fail"))
    assert isinstance(failed.error, RuntimeError) and not failed.stopped and failed.state() == "failed"
    assert failed.text == "a"  # what came before
    row: dict[str, Any] = {}
    refused = finished(Asking.of(worker.submit("words/2", row), VERSION, row, {}))
    assert "column 'text' is missing" in str(refused.error)


def test_a_time_limit_says_so(worker: Worker) -> None:
    row, parameters = {"text": "word " * 1000}, {"pause_ms": 20}
    one = finished(Asking.of(worker.submit("words/2", row, parameters, timeout_s=0.2), VERSION, row, parameters))
    assert one.stopped and "its time limit" in str(one.error) and one.text


def test_waiting_for_the_end_returns_at_the_end(worker: Worker) -> None:
    one = ask(worker, "a b", pause_ms=30)
    one.await_end(PATIENCE)
    one.update()
    assert one.over and one.seconds < PATIENCE / 2


def test_waiting_returns_at_the_first_piece_and_then_at_the_end(worker: Worker) -> None:
    one = ask(worker, "word " * 2000, pause_ms=5)  # ten seconds
    one.update(PATIENCE)
    assert one.events and not one.over
    one.stop()
    one.update(PATIENCE)
    assert one.over and one.stopped


def test_numbers_are_said_as_people_say_them() -> None:
    said = [ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)]
    assert said == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
    assert [in_seconds(seconds) for seconds in (0.0123, 1.234, 61.2)] == ["12 ms", "1.23 s", "61 s"]


def test_an_answer_that_leaves_the_page_is_stopped_and_still_reaches_the_history(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "st", SimpleNamespace(session_state={}))
    told: list[Asking] = []
    monkeypatch.setattr(answering, "on_answer", told.append)
    one, other = ask(worker, "word " * 2000, pause_ms=5), ask(worker, "a b")
    until(lambda: (one.update(), len(one.events) > 3)[1])
    askings = [one]
    answering.leave(askings)
    assert askings == []
    finished(other)  # and so the first one is over
    answering.record_finished()
    assert told == [one] and one.stopped and len(one.text) >= 4 * len("word")
    answering.record_finished()
    assert told == [one]
