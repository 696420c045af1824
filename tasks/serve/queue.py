"""The queue in front of the worker: bounded, and fair among clients."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from tasks.runtime.jobs import QueueFullError


class FairQueue:
    """Requests for one model are served at a time; the others wait, each client's in order, and clients take turns.

    The worker's own queue is first in, first out: a client that asks a hundred times at once would be served a hundred
    times before the next. When the queue is full, a client that has at least two fewer waiting than the one with the
    most gets the place of that one's newest request. For one event loop: nothing here is safe between threads.
    """

    def __init__(self, capacity: int, at_once: Callable[[str], int] = lambda _model: 1) -> None:
        """Args: capacity: how many requests may wait; at_once: how many a model answers at the same time."""
        self.capacity, self._at_once = capacity, at_once
        self._served: list[str] = []  # their model, as often as there are requests for it
        self._waiting: OrderedDict[str, deque[_Place]] = OrderedDict()  # the first client is next

    @property
    def busy(self) -> bool:
        """Whether any request is served."""
        return bool(self._served)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def acquire(self, client: str, model: str = "") -> None:
        """Wait for one's turn, which lasts until `release`. Raises QueueFullError, at once or while waiting.

        When cancelled, its place is given up.
        """
        if not self._waiting and self._may_begin(model):
            self._served.append(model)
            return
        if len(self) >= self.capacity:
            self._make_room(client)
        place = _Place(model, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, deque()).append(place)
        try:
            await place.turn
        except asyncio.CancelledError:
            if place.turn.done() and not place.turn.cancelled() and place.turn.exception() is None:
                self.release(model)  # the turn came at the same moment
            else:
                self._remove(client, place)
            raise

    def release(self, model: str = "") -> None:
        """A turn is over: the next client's oldest request is served, and more of them if its model can."""
        self._served.remove(model)
        self.admit()

    def admit(self) -> None:
        """Serve the next requests as far as they may begin now: their model may have been loaded meanwhile."""
        while self._waiting:
            client, places = next(iter(self._waiting.items()))
            place = places[0]
            if not place.turn.done() and not self._may_begin(place.model):
                return
            places.popleft()
            if places:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            if not place.turn.done():
                self._served.append(place.model)
                place.turn.set_result(None)

    def fail_all(self, error: Exception) -> None:
        """Fail all queued requests."""
        for places in self._waiting.values():
            for place in places:
                if not place.turn.done():
                    place.turn.set_exception(error)
        self._waiting.clear()

    def _may_begin(self, model: str) -> bool:
        served = self._served
        return not served or (served[0] == model and len(served) < self._at_once(model))

    def _make_room(self, client: str) -> None:
        """Fail the newest request of the client that has the most. Raises QueueFullError if that is not fair."""
        full = QueueFullError(f"{self.capacity} requests wait already, the most that may; try again later")
        own = len(self._waiting.get(client, ()))
        greediest, places = max(self._waiting.items(), key=lambda entry: len(entry[1]))
        if len(places) < own + 2:
            raise full
        newest = places[-1]
        self._remove(greediest, newest)
        if not newest.turn.done():
            newest.turn.set_exception(full)

    def _remove(self, client: str, place: "_Place") -> None:
        places = self._waiting.get(client)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del self._waiting[client]


@dataclass(frozen=True, eq=False)
class _Place:
    """A request that waits for its turn."""

    model: str
    turn: "asyncio.Future[None]"
