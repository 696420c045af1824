"""The cookie that says whose a conversation is."""

import asyncio
from http.cookies import SimpleCookie
from typing import Any

import pytest

from ui.conversations.owner import COOKIE, OwnerCookie, new_cookie, owner_of

GOOD = "a" * 43


def cookies_set(cookie: str | None, *, kind: str = "http", content: str = "text/html; charset=utf-8", scheme="http"):
    """The cookies that an answer sets, for a request with a `Cookie` header."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content.encode())]})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if cookie is None else [(b"cookie", cookie.encode("latin-1"))]
    scope = {"type": kind, "scheme": scheme, "method": "GET", "path": "/", "headers": headers}
    asyncio.run(OwnerCookie(app)(scope, None, send))  # type: ignore[arg-type]
    assert len(sent) == 2
    return [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]


@pytest.mark.parametrize(
    "cookie", [None, "", "other=1", f"{COOKIE}=short", f"{COOKIE}={'a' * 42}<", "=;;=\x01", "\xff"]
)
def test_a_browser_without_an_id_is_given_one_with_a_page(cookie: str | None) -> None:
    (line,) = cookies_set(cookie)
    morsel = SimpleCookie(line)[COOKIE]
    assert owner_of({COOKIE: morsel.value})
    assert morsel["httponly"] and morsel["samesite"] == "Lax" and morsel["path"] == "/" and not morsel["secure"]
    assert int(morsel["max-age"]) > 365 * 24 * 3600


def test_ids_differ_and_are_secure_over_https() -> None:
    lines = {cookies_set(None, scheme="https")[0] for _ in range(20)}
    assert len(lines) == 20 and all("Secure" in line for line in lines)
    assert "Secure" not in new_cookie(secure=False)


def test_one_with_an_id_keeps_it() -> None:
    assert cookies_set(f"x=1; {COOKIE}={GOOD}") == []


@pytest.mark.parametrize("other", [{"content": "application/javascript"}, {"kind": "websocket"}, {"kind": "lifespan"}])
def test_only_pages_set_it(other: dict[str, str]) -> None:
    assert cookies_set(None, **other) == []


def test_an_owner_is_told_by_the_id_and_the_id_not_by_the_owner() -> None:
    owner = owner_of({COOKIE: GOOD})
    assert owner and GOOD not in owner and owner == owner_of({COOKIE: GOOD, "y": "2"})
    assert owner != owner_of({COOKIE: "b" * 43})
    for bad in ("", "a" * 44, "a" * 42 + "\n", "a" * 42 + " ", "../" * 14 + "a"):
        assert owner_of({COOKIE: bad}) is None
    assert owner_of({}) is None
