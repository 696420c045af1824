"""A Hugging Face Hub on this machine: the part of its HTTP interface that `huggingface_hub` asks for, and its troubles.

As on the real one: large files are in LFS and come from a second address by a redirect, errors are told by the header
`X-Error-Code`, and what may not be seen does not exist.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.support.hub_repository import Repository
from tests.support.hub_server import TOKEN, Handler, Server


@dataclass
class Hold:
    """A body that stops half-way until the test lets it go on."""

    after: int
    reached: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)


class LocalHub:
    """The server and what is on it.

    Attributes:
        repositories: by their id.
        asked: every request, such as `GET /api/models?search=x`.
        sent: bytes of bodies, by the path in the repository.
        seen_tokens: every token that was sent along, by whom to: the Hub, or the address of large files.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.sent: Counter[str] = Counter()
        self.seen_tokens: dict[str, set[str]] = {"hub": set(), "cdn": set()}
        self._breaks: dict[str, list[int]] = {}
        self._holds: dict[str, Hold] = {}
        self._statuses: list[tuple[str, int]] = []
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn = f"http://localhost:{self._server.server_port}"  # another host, as for the client
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def add(self, hub_id: str, files: Mapping[str, bytes] | Path, **facts: Any) -> Repository:
        """Put a model on the Hub: its files, or a folder of them. Args: facts: see `Repository`."""
        repository = self.repositories[hub_id] = Repository(hub_id, **facts)
        repository.commit(files)
        return repository

    def break_off(self, path: str, after: int, times: int = 1) -> None:
        """Close the connection after so many bytes of a file, so many times."""
        self._breaks[path] = [after] * times

    def hold(self, path: str, after: int) -> Hold:
        """Send so many bytes of a file, once, then wait until it is released."""
        self._holds[path] = Hold(after)
        return self._holds[path]

    def refuse(self, status: int, times: int, path: str = "") -> None:
        """Answer requests whose path contains a text with a status, so many times."""
        self._statuses += [(path, status)] * times

    def close(self) -> None:
        """Go away, as a network that is cut."""
        for hold in self._holds.values():
            hold.released.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._server.open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def environment(self, cache: Path) -> dict[str, str]:
        """What a program needs to use this Hub, with a cache of its own."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache)}

    def status_for(self, path: str) -> int | None:
        for number, (part, status) in enumerate(self._statuses):
            if part in path:
                del self._statuses[number]
                return status
        return None

    def break_for(self, path: str) -> int | None:
        waiting = self._breaks.get(path)
        return waiting.pop() if waiting else None

    def hold_for(self, path: str) -> Hold | None:
        return self._holds.pop(path, None)

    def find_blob(self, sha256: str) -> tuple[str, bytes] | None:
        """A file in LFS by its content: its path and the content."""
        for repository in self.repositories.values():
            for files in repository.history.values():
                for path, file in files.items():
                    if file.sha256 == sha256:
                        return path, file.content
        return None


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A Hub that ends with the block."""
    hub = LocalHub()
    try:
        yield hub
    finally:
        with suppress(OSError):
            hub.close()


def use_in_process(hub: LocalHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `huggingface_hub`, as it is loaded already, ask this Hub and use a cache of its own."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template.removeprefix(constants.ENDPOINT))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name, value in hub.environment(cache).items():
        monkeypatch.setenv(name, value)


__all__ = ["TOKEN", "Hold", "LocalHub", "local_hub", "use_in_process"]
