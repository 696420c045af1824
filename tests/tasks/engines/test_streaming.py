"""A callback's events as a stream: at once, in order, ended by its reader, with the errors of the work."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.base import never
from tasks.engines.streaming import follow


def test_events_come_in_order_and_the_result_last() -> None:
    def work(emit: Callable[[dict[str, Any]], None], cancel: Callable[[], bool]) -> str:
        for number in range(100):
            emit({"number": number})
        return "done"

    stream, events = follow(work, never), []
    with pytest.raises(StopIteration) as end:
        while True:
            events.append(next(stream))
    assert end.value.value == "done"
    assert events == [{"number": number} for number in range(100)]


def test_an_event_is_read_before_the_work_goes_on() -> None:
    read = threading.Event()

    def work(emit: Callable[[dict[str, Any]], None], cancel: Callable[[], bool]) -> bool:
        emit({"first": 1})
        return read.wait(30)

    stream = follow(work, never)
    assert next(stream) == {"first": 1}
    read.set()
    with pytest.raises(StopIteration) as end:
        next(stream)
    assert end.value.value is True


def test_what_the_work_raises_is_raised_where_it_is_read() -> None:
    def work(emit: Callable[[dict[str, Any]], None], cancel: Callable[[], bool]) -> None:
        emit({"first": 1})
        raise ValueError("broken")

    stream = follow(work, never)
    next(stream)
    with pytest.raises(ValueError, match="broken"):
        next(stream)


def test_a_reader_that_goes_away_cancels_the_work_and_waits_for_its_end() -> None:
    ended = threading.Event()

    def work(emit: Callable[[dict[str, Any]], None], cancel: Callable[[], bool]) -> None:
        for _ in range(500):
            if cancel():
                ended.set()
                return
            emit({"more": 1})
            time.sleep(0.01)

    stream = follow(work, never)
    next(stream)
    stream.close()
    assert ended.is_set()


def test_the_callers_cancel_is_seen_by_the_work() -> None:
    answers = iter([False, True])

    def work(emit: Callable[[dict[str, Any]], None], cancel: Callable[[], bool]) -> int:
        looks = 1
        while not cancel():
            looks += 1
        return looks

    with pytest.raises(StopIteration) as end:
        next(follow(work, lambda: next(answers)))
    assert end.value.value == 2
