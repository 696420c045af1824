"""Thousands of connections that never become requests, against real servers with as few descriptors as shells give."""

import contextlib
import http.client
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.gateway import Server, serving_gateway
from tests.support.words import until

HALF_OPEN = 2000
DESCRIPTORS = 1024
TOKEN = "s3cret"
UNFINISHED = {
    "nothing": b"",
    "half a header": b"POST /tasks/sentiment-analysis HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    "half a body": b"POST /tasks/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer s3cret\r\nContent-Length: 1000\r\n\r\n{",
    "a refused body": b"POST /tasks/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{",
    "an idle connection": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.fixture(scope="module", autouse=True)
def _many_sockets() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 2 * HALF_OPEN:
        pytest.skip(f"this machine lets a process open {before[1]} sockets only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * HALF_OPEN), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = shutil.copy(empty_store, tmp_path_factory.mktemp("half-open") / "mlflow.db")
    with serving_gateway(store, descriptors=DESCRIPTORS, PROJECT_DL_TOKEN=TOKEN) as server:
        server.log = store.parent / "gateway.log"  # type: ignore[attr-defined]
        yield server


def healthy(port: int) -> float:
    """Seconds until a new connection has its answer."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - started


@contextlib.contextmanager
def open_sockets(port: int, content: bytes, number: int = HALF_OPEN) -> Iterator[list[socket.socket]]:
    """So many connections on which this has been sent."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            with contextlib.suppress(ConnectionError):
                one.sendall(content)
            sockets.append(one)
        yield sockets


@pytest.mark.parametrize("kind", UNFINISHED)
def test_the_gateway_answers_beside_two_thousand_unfinished_connections(server: Server, kind: str) -> None:
    process = psutil.Process(server.process.pid)
    healthy(server.port)
    logged = server.log.stat().st_size  # type: ignore[attr-defined]
    with open_sockets(server.port, UNFINISHED[kind]):
        during = sorted(healthy(server.port) for _ in range(9))
        held = process.num_fds()
    print(f"{kind}: /healthz in {during[4]:.3f} s, at most {during[-1]:.3f} s; {held} descriptors")
    assert during[4] < 1
    assert held < DESCRIPTORS - 100
    assert server.log.stat().st_size == logged  # type: ignore[attr-defined]
    until(lambda: process.num_fds() < 100)  # all is given back
