"""The tool over an empty and over a filled registry, and its pages run by Streamlit's AppTest."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks.runtime.worker import Worker
from tests.conftest import PROJECT_ROOT
from tests.support.batches import Upper
from tests.support.processes import a_process


@pytest.fixture(scope="session", autouse=True)
def _scanned_once() -> Iterator[None]:
    """For each AppTest Streamlit reads the metadata of all installed packages, a second long: here once for all."""
    from streamlit.components.v2 import manifest_scanner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """AppTest leaves a page as the process's main module; processes that later tests start would run it."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(autouse=True)
def _own_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the conversations of who runs it."""
    monkeypatch.setenv("PROJECT_DL_CONVERSATIONS", str(tmp_path / "conversations.db"))


@pytest.fixture
def empty_tool(store: Path) -> Iterator[Path]:
    """The tool over an empty registry, as on a first start; the folder that it runs in."""
    _forget()
    yield store
    _forget()


@pytest.fixture
def tool(filled_store: Path, empty_tool: Path) -> Path:
    """The tool over a registry with tiny models, which may be changed: each test has its own copy of the store."""
    (empty_tool / "mlflow.db").write_bytes(filled_store.read_bytes())
    return empty_tool


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What pages start (entry point, values, what is private), in place of starting it."""
    calls: list[tuple[Any, ...]] = []

    def start(entry: str, values: dict[str, str], *private: Any) -> Any:
        calls.append((entry, dict(values), *private))
        return a_process(entry=entry, values=dict(values))

    for module in ("process_cards", "first_start"):
        monkeypatch.setattr(f"ui.running.{module}.start", start)
    return calls


@pytest.fixture
def upper() -> Iterator[type[Upper]]:
    """A task that writes in capitals; nothing holds it afterwards."""
    Upper.answered, Upper.hold = [], None
    yield Upper
    if Upper.hold is not None:
        Upper.hold.set()


@pytest.fixture
def worker(upper: type[Upper], tmp_path: Path) -> Iterator[Worker]:
    """A worker of that task."""
    with Worker(lambda _key: upper(tmp_path, "upper"), 10**9) as worker:
        yield worker


@pytest.fixture
def visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat page knows who visits it: AppTest has no cookies."""
    from tests.support.chatting import ME
    from ui.chat import session

    monkeypatch.setattr(session, "owner", lambda: ME)


@pytest.fixture
def chat(tool: Path, page: Callable[..., Any], visitor: None) -> Any:
    """The chat page with a model that has a template, and that writes little."""
    from tests.support.chatting import opened

    return opened(page)


def _forget() -> None:
    """End the worker of the last test, and forget what pages keep between runs."""
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def page() -> Callable[..., Any]:
    """A function that opens a page of the app, such as `page("tasks")`."""
    from streamlit.testing.v1 import AppTest

    class Watched(AppTest):
        """An app whose every drawing is looked at: none may end in an exception, shown or caught by `ui/app.py`."""

        def _run(self, *args: Any, **settings: Any) -> AppTest:
            super()._run(*args, **settings)
            failed = [one.value for one in self.error if "This page failed" in one.value]
            assert not self.exception and not failed, [*(one.value for one in self.exception), *failed]
            return self

    def open_page(name: str, timeout: float = 60.0) -> AppTest:
        app = Watched.from_file(str(PROJECT_ROOT / "ui" / "app.py"), default_timeout=timeout)
        app.run()
        if name != "home":
            app.switch_page(f"views/{name}.py").run()
        return app

    return open_page
