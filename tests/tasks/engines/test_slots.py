"""Slots of llama.cpp: several at once, never more than the cache holds, in the order of arrival; what they remember."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tasks.base import TaskStopped
from tasks.engines.slots import REMEMBERED, Slots
from tests.support.words import until


class Writers:
    """Threads that each hold a slot until they are told to leave."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.writing: list[str] = []
        self.leave: dict[str, threading.Event] = {}
        self.threads: list[threading.Thread] = []

    def come(self, name: str, needed: int, **options: bool) -> None:
        """One more comes, and is waiting or writing when this returns."""
        self.leave[name] = threading.Event()

        def write() -> None:
            with self.slots.take([], needed, **options):  # type: ignore[arg-type]
                self.writing.append(name)
                self.leave[name].wait()
                self.writing.remove(name)

        before = len(self.slots._waiting) + len(self.writing)
        self.threads.append(threading.Thread(target=write, daemon=True))
        self.threads[-1].start()
        until(lambda: len(self.slots._waiting) + len(self.writing) > before)

    def end(self, *names: str) -> None:
        for name in names:
            self.leave[name].set()
            until(lambda name=name: name not in self.writing)


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers(Slots(3, 100))
    yield made
    for event in made.leave.values():
        event.set()
    for thread in made.threads:
        thread.join()


def test_as_many_write_at_once_as_there_are_slots(writers: Writers) -> None:
    for name in "abcd":
        writers.come(name, 10)
    until(lambda: sorted(writers.writing) == ["a", "b", "c"])
    writers.end("b")
    until(lambda: sorted(writers.writing) == ["a", "c", "d"])


def test_nobody_begins_for_whom_the_cache_may_not_suffice_and_nobody_overtakes(writers: Writers) -> None:
    writers.come("a", 60)
    writers.come("large", 50)
    writers.come("small", 10)  # would fit, but came later
    assert writers.writing == ["a"]
    writers.end("a")
    until(lambda: sorted(writers.writing) == ["large", "small"])


def test_one_alone_may_begin_whatever_it_needs(writers: Writers) -> None:
    writers.come("a", 1000)
    until(lambda: writers.writing == ["a"])


def test_who_takes_every_slot_waits_for_all_and_all_wait_for_it(writers: Writers) -> None:
    writers.come("a", 10)
    writers.come("every", 10, every=True)
    writers.come("b", 10)
    assert writers.writing == ["a"]
    writers.end("a")
    until(lambda: writers.writing == ["every"])
    writers.end("every")
    until(lambda: writers.writing == ["b"])


def test_who_is_cancelled_while_waiting_leaves_and_lets_the_next_in(writers: Writers) -> None:
    writers.come("a", 100)
    looks = iter([False, True])
    with pytest.raises(TaskStopped), writers.slots.take([], 100, cancel=lambda: next(looks)):
        pass
    writers.come("b", 10)
    writers.end("a")
    until(lambda: writers.writing == ["b"])


def test_nobody_begins_until_it_is_ready() -> None:
    slots, asked = Slots(2, 100), []

    def ready(alone: bool) -> bool:
        asked.append(alone)
        return len(asked) != 2

    with slots.take([], 10, ready=ready), slots.take([], 10, ready=ready):
        assert asked == [True, False, False]


def test_a_conversation_comes_back_to_its_slot_and_others_to_the_longest_unused() -> None:
    slots = Slots(3, 10_000)
    talk, other = list(range(REMEMBERED)), list(range(1000, 1000 + REMEMBERED))
    found = []
    for prompt in (talk, other, [7], [*talk, 1, 2], other[:-1], [8]):
        with slots.take(prompt, 10) as taken:
            found.append(taken)
    assert found == [(0, False), (1, False), (2, False), (0, True), (1, False), (2, False)]
    slots.forget()
    with slots.take(talk, 10) as (_, remembers):
        assert not remembers


def test_only_idle_slots_are_given() -> None:
    slots, prompt = Slots(2, 100), list(range(10))
    with ExitStack() as stack:
        first = [stack.enter_context(slots.take(prompt, 10, least=1)) for _ in range(2)]
    assert first == [(0, False), (1, False)]
    with slots.take(prompt, 10, least=1) as (_, remembers):
        assert remembers
