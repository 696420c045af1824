"""The tool's server as people run it: whose pages may connect, and how it ends."""

import http.client
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.e2e.wire import WireVisitor
from tests.support.browsing import tool_process
from tests.support.serving import Server


@pytest.fixture(scope="module")
def tool(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tool")
    store = shutil.copy(empty_store, folder / "mlflow.db")
    with tool_process({"MLFLOW_TRACKING_URI": f"sqlite:///{store}"}, folder) as tool:
        yield tool


def status(tool: Server, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", tool.port, timeout=60)
    connection.request(method, path, b"x" if method != "GET" else None, headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status


def test_a_page_of_the_tool_is_run(tool: Server) -> None:
    visitor = WireVisitor(tool.address, "", "")
    visitor.visit()
    assert visitor.hash
    visitor.close()


def stream(tool: Server, **options: str) -> None:
    """Connect as a page of an origin does; the WebSocket runs pages."""
    connect(f"ws://127.0.0.1:{tool.port}/_stcore/stream", subprotocols=["streamlit"], **options).close()  # type: ignore


def test_only_the_tools_own_origin_gets_a_websocket(tool: Server) -> None:
    for origin in (tool.address, f"http://localhost:{tool.port}"):
        stream(tool, origin=origin)
    stream(tool)  # a program
    for origin in ("http://127.0.0.1:9999", "http://localhost:9999", "http://127.0.0.1", "null", "http://evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            stream(tool, origin=origin)
        assert refused.value.response.status_code == 403


def test_a_name_that_leads_here_by_an_attackers_will_gets_nothing(tool: Server) -> None:
    own = {"Host": f"localhost:{tool.port}"}
    foreign = {"Host": f"evil.example:{tool.port}", "Origin": f"http://evil.example:{tool.port}"}
    for method, path in (("GET", "/"), ("GET", "/_stcore/host-config"), ("PUT", "/_stcore/upload_file/a/b")):
        assert status(tool, method, path, **foreign) == 403
        assert status(tool, method, path, **own, Origin="http://localhost:9999") == 403
    assert status(tool, "GET", "/", **own) == 200


def test_it_ends_at_a_signal_though_somebody_is_there(tool: Server) -> None:
    # The last test of this server.
    visitor = WireVisitor(tool.address, "", "")
    visitor.visit()
    tool.process.send_signal(signal.SIGTERM)
    assert tool.process.wait(timeout=60) == 0
    assert "Traceback" not in tool.log.read_text()
