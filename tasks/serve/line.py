"""The line in front of the worker: bounded, and fair among clients."""

import asyncio
from collections import OrderedDict, deque


class LineFullError(Exception):
    """So many requests wait that this one is turned away."""


class Line:
    """One request is served at a time; the others wait, each client's in order, and clients take turns.

    The worker's own queue is first in, first out: a client that asks a hundred times at once would be served a hundred
    times before the next. When all places are taken, a client that has at least two fewer waiting than the one with the
    most gets the place of that one's newest request. For one event loop: nothing here is safe between threads.
    """

    def __init__(self, places: int) -> None:
        """Args: places: how many requests may wait; the one that is served does not."""
        self.places = places
        self.busy = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the first client is next

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def turn(self, client: str) -> None:
        """Wait for one's turn, which lasts until `pass_on` is called. Raises LineFullError, at once or while waiting.

        When cancelled, its place is given up.
        """
        if not self.busy:
            self.busy = True
            return
        if len(self) >= self.places:
            self._turn_away_one_for(client)
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.pass_on()  # the turn came at the same moment
            else:
                self._forget(client, place)
            raise

    def pass_on(self) -> None:
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

    def clear(self, error: Exception) -> None:
        """Send all that wait away with an error."""
        for places in self._waiting.values():
            for place in places:
                if not place.done():
                    place.set_exception(error)
        self._waiting.clear()

    def _turn_away_one_for(self, client: str) -> None:
        """Make room, or raise LineFullError."""
        full = LineFullError(f"{self.places} requests wait already, the most that may; try again later")
        own = len(self._waiting.get(client, ()))
        greediest, places = max(self._waiting.items(), key=lambda entry: len(entry[1]))
        if len(places) < own + 2:
            raise full
        newest = places[-1]
        self._forget(greediest, newest)
        if not newest.done():
            newest.set_exception(full)

    def _forget(self, client: str, place: "asyncio.Future[None]") -> None:
        places = self._waiting.get(client)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del self._waiting[client]
