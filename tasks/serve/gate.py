"""What every request passes first: who may ask, how much may be sent and how slowly; and its count in the metrics."""

import asyncio
import contextlib
import hmac
import re
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.serve.metrics import Metrics
from tasks.serve.refusals import Refusal
from tasks.serve.replies import LEFT, refused
from tasks.serve.settings import BODIES_AT_ONCE, MEGABYTE, Settings, is_loopback

DISCARD_S = 5.0
HOST = re.compile(rb"(\[[0-9a-fA-F]*:[0-9a-fA-F:.]*\]|[\w.-]+)(?::[0-9]*)?")
OPEN = ("/healthz",)  # for those who only ask whether the server lives


class Gate:
    """An ASGI application around another.

    Without a token, a server on a loopback address answers only to a loopback name: a web page that was given a name
    for this address could otherwise ask it from within a browser.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.names_checked = settings.token is None and is_loopback(settings.host)
        self.held_bytes = 0  # of the bodies of all requests that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), LEFT
        body = _Body(self, receive, scope)

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                await body.discard()
                if not body.whole:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        self.metrics.running += 1
        try:
            try:
                self._admit(scope)
                body.announce(header(scope, b"content-length"))
            except Refusal as error:
                await refused(error)(scope, receive, noted)
            else:
                await self.app(scope, body.receive, noted)
        finally:
            self.held_bytes -= body.size
            self.metrics.running -= 1
            seconds = time.perf_counter() - started
            self.metrics.count(scope.get("route_name", "other"), LEFT if scope.get("left") else status, seconds)

    def _admit(self, scope: Scope) -> None:
        hosts = [value for key, value in scope["headers"] if key == b"host"]
        if self.names_checked and not (len(hosts) == 1 and is_loopback(host_name(hosts[0]))):
            raise Refusal(
                403, "wrong_host", "this server answers only under a name of its own machine, or with a token"
            )
        token = self.settings.token
        if token is None or scope["path"] in OPEN:
            return
        kind, _, given = header(scope, b"authorization").partition(b" ")
        if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token.encode()):
            raise Refusal(
                401, "unauthorized", "the bearer token is missing or wrong", headers={"WWW-Authenticate": "Bearer"}
            )


class _Body:
    """A request's body on its way in; `whole` once it has come."""

    def __init__(self, gate: Gate, receive: Receive, scope: Scope) -> None:
        self.gate, self.settings, self._receive = gate, gate.settings, receive
        self.size = 0
        self.whole = scope["method"] in ("GET", "HEAD")
        # A client that waits for a word before it sends the body, or that has stopped sending, sends no more.
        self._comes = header(scope, b"expect").lower() != b"100-continue"
        self._deadline: float | None = None

    def announce(self, length: bytes) -> None:
        """Refuse a body that says itself that it is too large."""
        if length.isdigit() and int(length[:20]) > self.settings.body_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message. Raises Refusal for a body that is too large or too slow, or too much with all others."""
        if self.whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self.settings.body_timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._comes = False
            seconds = self.settings.body_timeout
            raise Refusal(408, "body_too_slow", f"the request was not there after {seconds:g} s") from None
        self._comes = self._comes or bool(message.get("body"))
        self.whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        self.gate.held_bytes += size
        if self.size > self.settings.body_bytes:
            raise self._too_large()
        if self.gate.held_bytes > BODIES_AT_ONCE * self.settings.body_bytes:
            text = "the server holds too many large requests; try again later"
            raise Refusal(429, "too_much_at_once", text, headers={"Retry-After": "5"})
        return message

    async def discard(self) -> None:
        """Let the rest come, for some seconds: a client that is still sending would not hear its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while self._comes and not self.whole:
                    self.whole = not (await self._receive()).get("more_body", False)

    def _too_large(self) -> Refusal:
        most = self.settings.body_bytes / MEGABYTE
        return Refusal(413, "body_too_large", f"the request is larger than {most:g} MB, the most that is taken")


def header(scope: Scope, name: bytes) -> bytes:
    """A header of a request; empty if it is not there."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in pairs if key == name), b"")


def host_name(value: bytes) -> str:
    """The name in a Host header, without the port; empty for a header that is not a name and perhaps a port."""
    match = HOST.fullmatch(value)
    return match[1].decode() if match else ""
