"""Who writes in which slot of llama.cpp: several at once, and never more together than its memory holds."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

from tasks.base import Cancel, TaskStopped, never

REMEMBERED = 32  # tokens that two prompts share before the second is not read from its start: a tenth of a second
LOOK_S = 0.05  # between two looks at `cancel` while waiting


class Slots:
    """Slots that share one cache of keys and values: each may fill a whole window, all together the cache.

    llama.cpp fails every running request when the cache is full. So each says before how much it may need, and
    waits, in the order of arrival, until there is that much. What idle slots remember is evicted automatically.
    """

    def __init__(self, count: int, cells: int) -> None:
        """Args: count: of slots; cells: tokens that the cache has room for."""
        self.count, self.cells = count, cells
        self._prompts: dict[int, list[int]] = {slot: [] for slot in range(count)}  # the longest unused slot first
        self._idle = set(range(count))
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(
        self,
        prompt: Sequence[int],
        needed: int,
        cancel: Cancel = never,
        *,
        ready: Callable[[bool], bool] = lambda _alone: True,
        least: int = REMEMBERED,
        every: bool = False,
    ) -> Iterator[tuple[int, bool]]:
        """Wait for a slot; gives its number, and whether it remembers at least `least` tokens of the prompt.

        What is remembered changes the last bits of the probabilities, and a seed might give another text: so by default
        only what would take long to read again is.

        Args:
            needed: tokens of prompt and answer together.
            ready: asked before one begins, with whether no other runs; false keeps it waiting until another has ended.
            every: take all slots.

        Raises TaskStopped when `cancel` turns true while waiting.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._may_begin(ticket, needed, ready, every):
                    if cancel():
                        raise TaskStopped
                    self._changed.wait(LOOK_S)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            slot, remembers = self._choose(list(prompt), least)
            taken = set(self._idle) if every else {slot}
            for other in taken - {slot}:
                self._prompts[other] = []
            self._idle -= taken
            self._used += needed
        try:
            yield slot, remembers
        finally:
            with self._changed:
                self._idle |= taken
                self._used -= needed
                self._changed.notify_all()

    def _may_begin(self, ticket: object, needed: int, ready: Callable[[bool], bool], every: bool) -> bool:
        alone = len(self._idle) == self.count
        free = alone if every else bool(self._idle)
        fits = alone or self._used + needed <= self.cells
        return self._waiting[0] is ticket and free and fits and ready(alone)

    def forget(self) -> None:
        """Nothing is remembered any more."""
        self._prompts = {slot: [] for slot in self._prompts}

    def _choose(self, prompt: list[int], least: int) -> tuple[int, bool]:
        """The idle slot that remembers most of a prompt, or the one that is longest unused."""
        shared = {slot: _shared(prompt, self._prompts[slot]) for slot in self._prompts if slot in self._idle}
        best = max(shared, key=lambda slot: shared[slot])
        remembers = shared[best] >= least
        slot = best if remembers else next(iter(shared))
        del self._prompts[slot]
        self._prompts[slot] = prompt
        return slot, remembers


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two prompts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
