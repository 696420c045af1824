"""What every request passes first: who may ask, how much may be sent and how slowly; and its count in the metrics."""

import asyncio
import contextlib
import hmac
import re
import time
from collections.abc import Iterable

from fastapi.security import HTTPBearer
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.serve.errors import ApiError
from tasks.serve.metrics import Metrics
from tasks.serve.responses import ClientLeft, error_response
from tasks.serve.settings import BODIES_AT_ONCE, MEGABYTE, Settings, is_loopback

LEFT = 499  # what nginx calls it: the client has left, nothing is sent, but the metrics count it
DISCARD_S = 5.0
HOST = re.compile(rb"(\[[0-9a-fA-F]*:[0-9a-fA-F:.]*\]|[\w.-]+)(?::[0-9]*)?")
OPEN = ("/healthz",)  # for those who only ask whether the server lives
BEARER = HTTPBearer(scheme_name="token", auto_error=False)


class Gate:
    """An ASGI application around another.

    Without a token, a server on a loopback address answers only to a loopback name: a web page that was given a name
    for this address could otherwise ask it from within a browser.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.names_checked = not settings.token and is_loopback(settings.host)
        self.held_bytes = 0  # of the bodies of all requests that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, complete = time.perf_counter(), LEFT, False
        body = _Body(self, receive, scope)

        async def noted(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                if not body.whole:
                    await body.discard()
                if not body.whole:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body")

        self.metrics.open.inc()
        try:
            await self._admit(Request(scope))
            body.announce(header(scope, b"content-length"))
            await self.app(scope, body.receive, noted)
        except ClientLeft:
            pass
        except Exception as error:
            if status != LEFT:  # it has begun to answer
                raise
            await error_response(error)(scope, receive, noted)
        finally:
            self.held_bytes -= body.size
            self.metrics.open.dec()
            route = getattr(scope.get("route"), "name", "other")
            self.metrics.count(route, status if complete else LEFT, time.perf_counter() - started)

    async def _admit(self, request: Request) -> None:
        """Raises ApiError for a host, token or content type that is not accepted, whatever the body."""
        hosts = [value for key, value in request.headers.raw if key == b"host"]
        if self.names_checked and not (len(hosts) == 1 and is_loopback(host_name(hosts[0]))):
            raise ApiError(
                403, "wrong_host", "this server answers only under a name of its own machine, or with a token"
            )
        token = self.settings.token
        if token and request.scope["path"] not in OPEN:
            given = await BEARER(request)
            if given is None or not hmac.compare_digest(given.credentials.strip().encode(), token.encode()):
                headers = {"WWW-Authenticate": "Bearer"}
                raise ApiError(401, "unauthorized", "the bearer token is missing or wrong", headers=headers)
        if request.method == "POST":
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                text = "the content type is not application/json, the only one taken"
                raise ApiError(415, "unsupported_media_type", text)
            if request.headers.get("content-encoding", "identity").lower() != "identity":
                raise ApiError(415, "unsupported_media_type", "the content is encoded; send it as it is")


class _Body:
    """A request's body on its way in; `whole` once it has come."""

    def __init__(self, gate: Gate, receive: Receive, scope: Scope) -> None:
        self.gate, self.settings, self._receive = gate, gate.settings, receive
        self.size = 0
        announced = header(scope, b"transfer-encoding") or header(scope, b"content-length").strip(b"0")
        self.whole = scope["method"] in ("GET", "HEAD") and not announced
        # A client that waits for a word before it sends the body, or that has stopped sending, sends no more.
        self._comes = header(scope, b"expect").lower() != b"100-continue"
        self._deadline: float | None = None

    def announce(self, length: bytes) -> None:
        """Refuse a body that says itself that it is too large."""
        if length.isdigit() and int(length[:20]) > self.settings.body_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next message. Raises ApiError for a body that is too large or too slow, or too much with all others."""
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
            raise ApiError(408, "body_too_slow", f"the request was not there after {seconds:g} s") from None
        self._comes = self._comes or bool(message.get("body"))
        self.whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self.size += size
        self.gate.held_bytes += size
        if self.size > self.settings.body_bytes:
            raise self._too_large()
        if self.gate.held_bytes > BODIES_AT_ONCE * self.settings.body_bytes:
            text = "the server holds too many large requests; try again later"
            raise ApiError(429, "too_much_at_once", text, headers={"Retry-After": "5"})
        return message

    async def discard(self) -> None:
        """Let the rest come, for some seconds: a client that is still sending would not hear its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while self._comes and not self.whole:
                    self.whole = not (await self._receive()).get("more_body", False)

    def _too_large(self) -> ApiError:
        most = self.settings.body_bytes / MEGABYTE
        return ApiError(413, "body_too_large", f"the request is larger than {most:g} MB, the most that is taken")


def header(scope: Scope, name: bytes) -> bytes:
    """A header of a request; empty if it is not there."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in pairs if key == name), b"")


def host_name(value: bytes) -> str:
    """The name in a Host header, without the port; empty for a header that is not a name and perhaps a port."""
    match = HOST.fullmatch(value)
    return match[1].decode() if match else ""
