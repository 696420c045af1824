"""Connections, below the application: how many there may be, and how long one may take over what it has begun.

uvicorn's own `limit_concurrency` counts connections on which nothing happens, and refuses requests in their stead.
"""

import asyncio
import os
import socket
from itertools import chain
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from tasks.serve.listening import BACKLOG

HEAD_S = 10.0  # for the headers of a request, from its first byte or from the beginning of the connection
# A client must read at least this many bytes of a pending answer in this time. (What is read is seen late: the system
# itself holds up to some megabytes.)
UNREAD_S, LEAST_READ = 60.0, 16_384
# asyncio accepts this number of connections before any of them is counted here, and when descriptors run out
# nevertheless, it logs this number of errors each second.
ACCEPTS_AT_ONCE = 4
# Read at once of a connection. In a body of chunks of one byte h11 takes 0.1 s for so much, and others come in between.
READ = 8192
SPARE = 1000  # connections besides those whose requests may wait


def most_connections(queue: int, each: int = 1) -> int:
    """How many there may be: enough for all requests that may wait, and at most three quarters of the descriptors.

    The rest of what the system lets a process open is for models, stores and logs.

    Args: each: how many descriptors a connection takes, files that are sent on it included.
    """
    if os.name != "posix":
        return queue + SPARE
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return queue + SPARE if soft == resource.RLIM_INFINITY else min(queue + SPARE, soft * 3 // 4 // each)


class Connections(ServerState):
    """uvicorn's state of a server, with a bound on `connections`.

    Those whose request is not complete make room for new ones: first those without headers, also between two requests,
    then those without the whole body; the oldest first. One that is being answered never does.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.without_head: dict[BoundedProtocol, None] = {}  # as an ordered set
        self.without_body: dict[BoundedProtocol, None] = {}

    def admit(self, new: "BoundedProtocol") -> None:
        """Make room for a connection; where there is none, it is closed."""
        if len(self.connections) > self.most:
            next(chain(self.without_head, self.without_body), new).abort()

    def sort(self, one: "BoundedProtocol", *, head: bool, body: bool) -> None:
        """Note what a connection has not got yet."""
        for waits, place in ((head, self.without_head), (body, self.without_body)):
            if not waits:
                place.pop(one, None)
            elif one not in place:
                place[one] = None


class BoundedProtocol(H11Protocol):
    """A connection that is closed when it takes too long, or when others need its place."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.all = server_state
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.max_size = READ  # type: ignore[attr-defined]
        super().connection_made(transport)
        self.all.admit(self)
        if not transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_S, self.abort)
            self._sort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._sort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._sort()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._forget()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_timer = _cancelled(self._unread_timer)

    def abort(self) -> None:
        """Close at once, whatever has not been sent."""
        self._forget()
        self.all.connections.discard(self)
        self.transport.abort()

    def _sort(self) -> None:
        """After each event: what is this connection without?"""
        if self not in self.all.connections:  # it has been closed, or speaks another protocol
            return
        closing, state = self.transport.is_closing(), self.conn.their_state
        head = closing or state is h11.IDLE
        self.all.sort(self, head=head, body=not head and state is h11.SEND_BODY)
        if not head:
            self._head_timer = _cancelled(self._head_timer)
        elif self._head_timer is None and self.conn.trailing_data[0]:  # the beginning of a further request
            self._head_timer = self.loop.call_later(HEAD_S, self.abort)
        if closing and self._unread_timer is None:  # all is written, but not sent
            self._watch_reading()

    def _watch_reading(self, before: int | None = None) -> None:
        """Look every `UNREAD_S` whether what is left to send has become less."""
        left = self.transport.get_write_buffer_size()
        if before is not None and left > before - LEAST_READ:
            self.abort()
        else:
            self._unread_timer = self.loop.call_later(UNREAD_S, self._watch_reading, left)

    def _forget(self) -> None:
        self.all.sort(self, head=False, body=False)
        self._head_timer, self._unread_timer = _cancelled(self._head_timer), _cancelled(self._unread_timer)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class BoundedServer(uvicorn.Server):
    """A server of at most `most` connections, all of them `BoundedProtocol`s."""

    def __init__(self, config: uvicorn.Config, most: int) -> None:
        config.http, config.backlog = BoundedProtocol, ACCEPTS_AT_ONCE
        super().__init__(config)
        self.server_state = Connections(most)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)  # asyncio has set it to how many it accepts at once
