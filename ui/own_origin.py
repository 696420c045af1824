"""Which web pages may talk to the tool: its own. A page can start programs, and browsers let every page try.

Streamlit's own check lets in every port of this machine, and every name that an attacker gives its address.
"""

import ipaddress
import logging
import re
import socket
from collections.abc import Collection, Iterable
from functools import lru_cache

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.base import short
from tasks.serve.settings import SettingsError

Place = tuple[str, str, int]  # scheme, host, port

PLACE = re.compile(r"(?:(https?)://)?(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)
PORTS = {"http": 80, "https": 443}
SAME_MACHINE = ("localhost", "127.0.0.1", "::1")
HELP = "under another name, or behind a proxy, set server.corsAllowedOrigins to the address that visitors type"

logger = logging.getLogger("ui")


class OwnOrigin:
    """An ASGI application around the tool's. It refuses whose Host is no name of the tool, and pages of other origins.

    A program that sends no Origin is not a page, and is let in.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], origins: Iterable[Place]) -> None:
        """Args: names: of the tool, besides addresses and localhost; origins: of others that are let in."""
        self.app, self.origins = app, frozenset(origins)
        self.names = {name.lower() for name in names} | {host for _, host, _ in self.origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(scope) if scope["type"] in ("http", "websocket") else None
        if fault is None:
            await self.app(scope, receive, _framing_own_only(send) if scope["type"] == "http" else send)
            return
        _tell(fault)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "another origin"})
        else:
            await PlainTextResponse(fault, 403, {"Connection": "close"})(scope, receive, send)

    def _fault(self, scope: Scope) -> str | None:
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"]) or scope["scheme"]
        headers = Headers(scope=scope)
        hosts, origins = ([value.lower() for value in headers.getlist(name)] for name in ("host", "origin"))
        own = read_place(hosts[0], scheme) if len(hosts) == 1 else None
        if own is None or not self._is_own_name(own[1]):
            return f"the tool does not answer as {short(', '.join(hosts))}; {HELP}"
        for origin in origins:
            place = read_place(origin, "")
            if place is None or not (place in self.origins or _same(place, own)):
                return f"the tool answers its own pages, not those of {short(origin)}; {HELP}"
        return None

    def _is_own_name(self, host: str) -> bool:
        """A name that an attacker chose can lead here; an address is where the visitor wanted to go."""
        return _is_address(host) or host == "localhost" or host in self.names


def _framing_own_only(send: Send) -> Send:
    """Have browsers show no other origin in a frame: a sandbox lets the links of a report in it lead there."""

    async def framing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("content-security-policy", "frame-src 'self'")
        await send(message)

    return framing


def _same(one: Place, other: Place) -> bool:
    same_host = one[1] == other[1] or (one[1] in SAME_MACHINE and other[1] in SAME_MACHINE)
    return same_host and (one[0], one[2]) == (other[0], other[2])


def read_place(text: str, scheme: str) -> Place | None:
    """A Host header, or an origin where `scheme` is empty; None for what is none."""
    match = PLACE.fullmatch(text)
    if match is None or bool(match[1]) == bool(scheme):
        return None
    scheme = match[1] or scheme
    host, port = match[2].strip("[]").removesuffix("."), int(match[3] or PORTS.get(scheme, 0))
    if _is_address(host):
        host = str(ipaddress.ip_address(host))
    elif match[2].startswith("["):
        return None
    return scheme, host, port


def read_setting(origin: str) -> Place:
    """One of `server.corsAllowedOrigins`. Raises SettingsError, saying what is valid."""
    place = read_place(origin.lower().rstrip("/"), "")
    if place is None:
        raise SettingsError(f"server.corsAllowedOrigins has {short(origin)}; valid: https://name or https://name:port")
    return place


def names_of_this_machine(address: str) -> set[str]:
    """What others may call the machine, where the tool listens at an address that they reach."""
    if address in SAME_MACHINE:
        return set()
    host = socket.gethostname().lower()
    return {address.lower(), host, host.partition(".")[0], f"{host.partition('.')[0]}.local", socket.getfqdn().lower()}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=100)  # a page that is refused tries again every second
def _tell(fault: str) -> None:
    logger.warning("%s", fault)
