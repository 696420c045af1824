"""The queue in front of the worker: bounded, and fair among clients."""

import asyncio
from collections import OrderedDict, deque

from tasks.runtime.jobs import QueueFullError


class FairQueue:
    """One request is served at a time; the others wait, each client's in order, and clients take turns.

    The worker's own queue is first in, first out: a client that asks a hundred times at once would be served a hundred
    times before the next. When the queue is full, a client that has at least two fewer waiting than the one with the
    most gets the place of that one's newest request. For one event loop: nothing here is safe between threads.
    """

    def __init__(self, capacity: int) -> None:
        """Args: capacity: how many requests may wait; the one that is served does not."""
        self.capacity = capacity
        self.busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the first client is next

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def acquire(self, client: str) -> None:
        """Wait for one's turn, which lasts until `release`. Raises QueueFullError, at once or while waiting.

        When cancelled, its place is given up.
        """
        if not self.busy:
            self.busy = True
            return
        if len(self) >= self.capacity:
            self._make_room(client)
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()  # the turn came at the same moment
            else:
                self._remove(client, place)
            raise

    def release(self) -> None:
        """The turn is over: the next client's oldest request is served."""
        while self._waiting:
            client, places = next(iter(self._waiting.items()))
            place = places.popleft()
            if places:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            if not place.done():
                place.set_result(None)
                return
        self.busy = False

    def fail_all(self, error: Exception) -> None:
        """Fail all queued requests."""
        for places in self._waiting.values():
            for place in places:
                if not place.done():
                    place.set_exception(error)
        self._waiting.clear()

    def _make_room(self, client: str) -> None:
        """Fail the newest request of the client that has the most. Raises QueueFullError if that is not fair."""
        full = QueueFullError(f"{self.capacity} requests wait already, the most that may; try again later")
        own = len(self._waiting.get(client, ()))
        greediest, places = max(self._waiting.items(), key=lambda entry: len(entry[1]))
        if len(places) < own + 2:
            raise full
        newest = places[-1]
        self._remove(greediest, newest)
        if not newest.done():
            newest.set_exception(full)

    def _remove(self, client: str, place: "asyncio.Future[None]") -> None:
        places = self._waiting.get(client)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del self._waiting[client]
