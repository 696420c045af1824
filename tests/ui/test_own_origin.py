"""Which Host and which Origin get through to the tool."""

import asyncio
import socket
from typing import Any

import pytest

from tasks.serve.settings import SettingsError
from ui.own_origin import OwnOrigin, names_of_this_machine, read_setting

HELP = "under another name, or behind a proxy, set server.corsAllowedOrigins to the address that visitors type"


def ask(
    host: str | None, *origins: str, kind: str = "http", scheme: str = "", names: Any = (), settings: Any = ()
) -> tuple[bool, list[dict[str, Any]]]:
    """Whether a request got through, and what was sent to who asked."""
    through: list[Any] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        through.append(scope)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", host.encode("latin-1"))] if host is not None else []
    headers += [(b"origin", origin.encode("latin-1")) for origin in origins]
    usual = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "scheme": scheme or usual, "method": "PUT", "path": "/", "headers": headers}
    asyncio.run(OwnOrigin(app, names, map(read_setting, settings))(scope, receive, send))
    return bool(through), sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8501", "http://127.0.0.1:8501"),
        ("localhost:8501", "http://localhost:8501"),
        ("LocalHost.:8501", "http://localhost:8501"),
        ("[::1]:8501", "http://[::1]:8501"),
        ("localhost:8501", "http://127.0.0.1:8501"),
        ("127.0.0.1:8501", "http://localhost:8501"),
        ("[::1]:8501", "http://localhost:8501"),
        ("localhost:9000", "http://localhost:9000"),  # of a tunnel or a container
        ("127.0.0.1", "http://127.0.0.1"),  # port 80
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("192.168.0.7:8501", "http://192.168.0.7:8501"),
        ("[fd00::2]:8501", "http://[fd00:0::2]:8501"),
        ("laptop.local:8501", "http://laptop.local:8501"),
    ],
)
def test_the_tools_own_pages_get_through(host: str, origin: str, kind: str) -> None:
    assert ask(host, origin, kind=kind, names={"Laptop.local"})[0]
    assert ask(host, kind=kind, names={"laptop.local"})[0]  # a program


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:9999",
        "http://localhost:9999",
        "http://127.0.0.1",
        "https://127.0.0.1:8501",
        "http://127.0.0.2:8501",
        "http://192.168.0.7:8501",
        "http://evil.example",
        "http://evil.example:8501",
        "http://127.0.0.1:8501.evil.example",
        "http://127.0.0.1:8501@evil.example",
        "http://evil.example/127.0.0.1:8501",
        "http://127.0.0.1:8501/",
        "http://127.0.0.1:08501x",
        "http://[::1]evil.example:8501",
        "ftp://127.0.0.1:8501",
        "127.0.0.1:8501",
        "null",
        "",
        "http://",
        "file://",
        "http://127.0.0.1:8501 http://127.0.0.1:8501",
        "http://127.0.0.\u00b9:8501",
    ],
)
def test_pages_of_other_origins_do_not(origin: str, kind: str) -> None:
    through, sent = ask("127.0.0.1:8501", origin, kind=kind)
    assert not through
    if kind == "websocket":
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "another origin"}]
    else:
        assert sent[0]["status"] == 403
        assert sent[1]["body"].decode().endswith(HELP)


def test_each_of_several_origins_counts() -> None:
    assert ask("127.0.0.1:8501", "http://127.0.0.1:8501", "http://127.0.0.1:8501")[0]
    assert not ask("127.0.0.1:8501", "http://127.0.0.1:8501", "http://127.0.0.1:9999")[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8501",  # whose address an attacker has set to this machine's
        "evil.example",
        "localhost.evil.example:8501",
        "127.0.0.1.evil.example",
        "[::1]evil.com",
        "localhost:80@evil",
        "localhost:80:81",
        "[localhost]:8501",
        "[127.0.0.1",
        "http://localhost:8501",
        "local host",
        "localhost\u00e4",
        "",
        None,
    ],
)
def test_only_names_of_the_tool_are_answered(host: str | None, kind: str) -> None:
    for origins in ((), (f"http://{host}",)):
        assert not ask(host, *origins, kind=kind, names={"laptop.local"})[0]


def test_a_proxy_is_let_in_by_the_address_that_its_visitors_see() -> None:
    settings = ["https://Tool.example.org/"]
    for host in ("tool.example.org", "127.0.0.1:8501"):  # handed on, or the tool's own
        assert ask(host, "https://tool.example.org", kind="websocket", settings=settings)[0]
        assert ask(host, "https://tool.example.org", kind="websocket", scheme="wss", settings=settings)[0]
        for origin in ("http://tool.example.org:9999", "https://tool.example.org:9999", "https://example.org"):
            assert not ask(host, origin, kind="websocket", settings=settings)[0]
    assert not ask("other.example.org", settings=settings)[0]


@pytest.mark.parametrize("origin", ["*", "tool.example.org", "https://", "https://a/b", "ftp://a", ""])
def test_a_setting_that_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(SettingsError, match=r"server\.corsAllowedOrigins has .*; valid: https://name or https://name:"):
        read_setting(origin)


def test_the_names_of_this_machine_count_where_others_reach_it() -> None:
    assert names_of_this_machine("127.0.0.1") == names_of_this_machine("localhost") == set()
    own = socket.gethostname().lower()
    assert {own, own.split(".")[0] + ".local", "lab.example.org"} <= names_of_this_machine("lab.example.org")
    assert own in names_of_this_machine("0.0.0.0")


def test_a_page_that_tries_again_and_again_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        ask("127.0.0.1:8501", "http://127.0.0.1:7777")
    assert len(caplog.records) == 1 and "http://127.0.0.1:7777" in caplog.text
