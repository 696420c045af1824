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

from tests.e2e.wire import WireVisitor
from tests.support.browsing import tool_process
from tests.support.serving import Server, serving_gateway
from tests.support.words import PATIENCE, until

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


@pytest.fixture(scope="module")
def many_sockets() -> Iterator[None]:
    """This process may open as many as the tests need."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < 2 * HALF_OPEN:
        pytest.skip(f"this machine lets a process open {before[1]} sockets only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * HALF_OPEN), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def server(many_sockets: None, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = shutil.copy(empty_store, tmp_path_factory.mktemp("half-open") / "mlflow.db")
    with serving_gateway(store, "--queue", "1000", descriptors=DESCRIPTORS, PROJECT_DL_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def tool(many_sockets: None, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tool")
    store = shutil.copy(empty_store, folder / "mlflow.db")
    with tool_process({"MLFLOW_TRACKING_URI": f"sqlite:///{store}"}, folder, DESCRIPTORS) as tool:
        yield tool


def healthy(port: int, path: str) -> float:
    """Seconds until a new connection has its answer."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path)
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - started


@contextlib.contextmanager
def open_sockets(port: int, content: bytes) -> Iterator[None]:
    """Two thousand connections on which this has been sent."""
    with contextlib.ExitStack() as stack:
        for _ in range(HALF_OPEN):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            with contextlib.suppress(ConnectionError):
                one.sendall(content)
        yield


def besiege(server: Server, path: str, content: bytes) -> None:
    """Ask for `path` beside two thousand such connections."""
    process = psutil.Process(server.process.pid)
    healthy(server.port, path)
    before = process.num_fds()
    with open_sockets(server.port, content):
        first = healthy(server.port, path)
        seconds = sorted(healthy(server.port, path) for _ in range(9))
        held = process.num_fds()
    print(f"{path} in {seconds[4]:.3f} s (the first in {first:.3f} s), {held} descriptors")
    assert seconds[4] < 1
    assert held < DESCRIPTORS - 100
    until(lambda: process.num_fds() < before + 20)  # they are given back


@pytest.mark.parametrize("kind", UNFINISHED)
def test_the_gateway_answers_beside_two_thousand_unfinished_connections(server: Server, kind: str) -> None:
    besiege(server, "/healthz", UNFINISHED[kind])


def test_nothing_of_that_is_in_the_gateways_log(server: Server) -> None:
    besiege(server, "/healthz", b"\0 no HTTP\r\n\r\n")
    besiege(server, "/healthz", b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    [line] = server.log.read_text().splitlines()
    assert line.startswith("warning: 1000 requests may wait, but this system lets the gateway keep 768 connections")


@pytest.mark.parametrize("kind", UNFINISHED)
def test_the_tool_answers_beside_them_too_and_its_visitors_stay(tool: Server, kind: str) -> None:
    visitor = WireVisitor(tool.address, "", "")
    visitor.visit()
    besiege(tool, "/_stcore/health", UNFINISHED[kind])
    visitor.visit()
    visitor.close()
    assert len(tool.log.read_text().splitlines()) < 20
