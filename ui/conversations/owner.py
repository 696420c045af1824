"""Whose a conversation is: a random id in a cookie of the browser, which no script and no other site can read.

It never stands in an address: links are shared.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "project_dl_owner"
ID = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits
YEARS_S = 2 * 365 * 24 * 3600


class OwnerCookie:
    """An ASGI application around the tool's: a browser that asks for a page and has no id is given one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _sent(scope) is not None:
            await self.app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("set-cookie", new_cookie(secure=scope["scheme"] == "https"))
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def new_cookie(*, secure: bool) -> str:
    """A `Set-Cookie` header with a new id.

    `Lax`, not `Strict`: over a link from elsewhere a browser would come without its id, and be given another one.
    """
    cookie: SimpleCookie = SimpleCookie()
    cookie[COOKIE] = secrets.token_urlsafe(32)
    how: dict[str, Any] = {"httponly": True, "samesite": "Lax", "path": "/", "max-age": YEARS_S, "secure": secure}
    cookie[COOKIE].update(how)
    return cookie[COOKIE].OutputString()


def owner_of(cookies: Mapping[str, str]) -> str | None:
    """The owner whom a browser's cookies name; None without an id.

    A hash: who reads the database cannot take an owner's place.
    """
    given = cookies.get(COOKIE, "")
    return hashlib.sha256(given.encode()).hexdigest() if ID.fullmatch(given) else None


def _sent(scope: Scope) -> str | None:
    try:
        cookies = SimpleCookie(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return None
    return owner_of({name: morsel.value for name, morsel in cookies.items()})
