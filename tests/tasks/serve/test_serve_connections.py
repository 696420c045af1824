"""Connections that never come to an end: who has to leave for a new one, and what is waited for."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn

from tasks.serve import connections
from tasks.serve.connections import BoundedProtocol, BoundedServer, Connections, most_connections
from tests.support.gateway import run_async, until

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HALF = HEAD[:-4]
BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
MANY = 20_000_000


class App:
    """Answers each request with `size` bytes, once its body is there and `gate` is open."""

    def __init__(self, size: int = 2) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = self.over = 0
        self.size = size

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        await self.gate.wait()
        headers = [(b"content-length", str(self.size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for start in range(0, self.size, 1_000_000):
            size = min(1_000_000, self.size - start)
            await send({"type": "http.response.body", "body": bytes(size), "more_body": start + size < self.size})
        self.over += 1


class Served:
    """A server of a few connections on a port of its own, and those who talk to it."""

    def __init__(self, app: App, most: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", lifespan="off")  # type: ignore[arg-type]
        self.server = BoundedServer(config, most)
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def open(self) -> int:
        return len(self.server.server_state.connections)

    async def connect(self, content: bytes = b"") -> asyncio.StreamReader:
        """A new connection on which something has been sent; returns when the server has seen it."""
        reader, writer = await asyncio.open_connection(*self.listening.getsockname(), limit=2 * MANY)
        self.writers.append(writer)
        reader.writer = writer  # type: ignore[attr-defined]
        name = writer.get_extra_info("sockname")
        await until(lambda: name in self._seen or reader.at_eof())
        await self.send(reader, content)
        return reader

    async def send(self, reader: Any, content: bytes) -> None:
        reader.writer.write(content)
        await reader.writer.drain()

    @property
    def _seen(self) -> set[Any]:
        return {one.transport.get_extra_info("peername") for one in self.server.server_state.connections}


@asynccontextmanager
async def serving(app: App, most: int = 100) -> AsyncIterator[Served]:
    served = Served(app, most)
    task = asyncio.create_task(served.server.serve(sockets=[served.listening]))
    await until(lambda: served.server.started)
    try:
        yield served
    finally:
        app.gate.set()
        for writer in served.writers:
            writer.transport.abort()
        served.server.should_exit = True
        await task


async def closed(reader: asyncio.StreamReader) -> None:
    """Returns when the server has closed a connection, without a word."""
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""


async def answered(reader: asyncio.StreamReader) -> None:
    """Reads an answer of two bytes."""
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(2) == bytes(2)


@run_async
async def test_the_oldest_without_a_request_makes_room_for_a_new_connection() -> None:
    async with serving(App(), most=3) as served:
        silent, half = await served.connect(), await served.connect(HALF)
        idle = await served.connect(HEAD)
        await answered(idle)
        for oldest in (silent, half, idle):
            new = await served.connect(HEAD)
            await closed(oldest)
            await answered(new)
            assert served.open == 3


@run_async
async def test_one_that_is_being_answered_is_never_closed_for_another() -> None:
    app = App()
    async with serving(app, most=2) as served:
        app.gate.clear()
        asking = [await served.connect(HEAD), await served.connect(BODY + b"12345")]
        await until(lambda: app.asked == 2)
        await closed(await served.connect(HEAD))  # there is nobody else
        app.gate.set()
        for reader in asking:
            await answered(reader)
        await answered(await served.connect(HEAD))  # an idle one has left


@run_async
async def test_whose_body_is_on_its_way_leaves_after_those_without_headers() -> None:
    app = App()
    async with serving(app, most=2) as served:
        sending, silent = await served.connect(BODY), await served.connect()
        await until(lambda: app.asked == 1)
        late = await served.connect(BODY)
        await closed(silent)
        await until(lambda: app.asked == 2)
        await answered(await served.connect(HEAD))
        await closed(sending)  # the oldest of those that are left
        await served.send(late, b"12345")
        await answered(late)


@run_async
async def test_headers_are_waited_for_only_so_long() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEAD_S", 0.05)
        app = App()
        async with serving(app) as served:
            for content in (b"", HALF, b"GET"):
                await closed(await served.connect(content))
            second = await served.connect(HEAD)
            await answered(second)
            await served.send(second, HALF)
            await closed(second)
            idle, asking = await served.connect(HEAD), await served.connect(BODY)
            await answered(idle)
            await until(lambda: served.open == 2)
            await asyncio.sleep(0.2)  # four times as long: between requests, and for bodies, other limits hold
            assert served.open == 2
            await served.send(idle, HEAD)
            await answered(idle)
            await served.send(asking, b"12345")
            await answered(asking)


@run_async
async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "UNREAD_S", 0.05)
        app = App(MANY)
        async with serving(app) as served:
            for content in (HEAD, HEAD * 3, HEAD[:-2] + b"Connection: close\r\n\r\n"):
                reader = await served.connect()
                reader.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await served.send(reader, content)
                await until(lambda: app.asked > 0)
                await until(lambda: served.open == 0)
                await until(lambda: app.over == app.asked)  # whoever made it is not held up either
                app.asked = app.over = 0


def test_an_answer_that_is_read_slowly_is_not_given_up() -> None:
    protocol = BoundedProtocol(uvicorn.Config(App()), Connections(1), {}, Mock())  # type: ignore[arg-type]
    protocol.transport = Mock()
    for left, given_up in ((500_000, False), (480_000, False), (300_000, False), (290_000, True)):
        protocol.transport.get_write_buffer_size.return_value = left
        timer = protocol.loop.call_later.call_args  # type: ignore[attr-defined]
        _, look, *before = timer.args if timer else (0, protocol._watch_reading)
        look(*before)
        assert protocol.transport.abort.called == given_up


def test_a_body_of_many_small_chunks_lets_others_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    received = BoundedProtocol.data_received
    monkeypatch.setattr(
        BoundedProtocol, "data_received", lambda self, data: sizes.append(len(data)) or received(self, data)
    )

    async def attack() -> None:
        async with serving(App()) as served:
            chunks = b"1\r\n \r\n" * 10_000
            await served.connect(HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            await until(lambda: sum(sizes) > len(chunks))
        assert max(sizes) <= connections.READ

    run_async(attack)()


def test_descriptors_are_kept_in_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    for soft, most in ((1024, 768), (256, 192), (20_000, 1064), (resource.RLIM_INFINITY, 1064)):
        monkeypatch.setattr(resource, "getrlimit", lambda _kind, soft=soft: (soft, soft))
        assert most_connections(64) == most
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 1024))
    assert most_connections(0, each=2) == 384
