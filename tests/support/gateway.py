"""The gateway for tests: in this process with tasks of no weights, or as the real server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tasks import TASKS, TaskRecord
from tasks.base import Row, Task, TaskInputError, check_text
from tasks.chat import ReplyParameters, check_messages
from tasks.parameters import Parameters, option
from tasks.registry import ModelNotFoundError, RegisteredVersion
from tasks.runtime.rows import RequestTask
from tasks.runtime.worker import Worker
from tasks.serve.app import application
from tasks.serve.directory import Directory
from tasks.serve.gateway import Gateway
from tasks.serve.metrics import Metrics
from tasks.serve.settings import Settings
from tests.support.weightless import Weightless
from tests.support.words import PATIENCE

GIGABYTE = 10**9


class Plus(Parameters):
    plus: float = option(0.0, "added", ge=-10, le=10)


class Lengths(Weightless):
    """How long texts are, several at once; remembers how many at once."""

    name = "lengths"
    parameters = Plus
    batches: list[int] = []

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"text": check_text("text", row["text"])}

    def answer(self, rows: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
        self.batches.append(len(rows))
        special = {"nan": float("nan"), "half": "\ud83d", "inf": [float("inf"), 1.0]}
        for row in rows:
            if row["text"] == "fail":
                raise RuntimeError("secret: the device is out of memory")
            if row["text"] == "refuse":
                raise TaskInputError("text is refused by the model; valid: another")
        return [
            {"length": special.get(row["text"], len(row["text"]) + parameters["plus"]), "tokens": 2} for row in rows
        ]


class Parrot(Weightless):
    """A chatbot that says the last message again, word by word; the last digit of `seed`: milliseconds before each."""

    name = "chatbot"
    inputs = {"messages": True}
    parameters = ReplyParameters
    said: list[str] = []
    asked: list[tuple[Any, dict[str, Any]]] = []

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"messages": check_messages(row["messages"])}

    def stream_answer(self, row: Any, parameters: Any, cancel: Any) -> Any:
        self.asked.append((row["messages"], parameters))
        words = row["messages"][-1]["content"].split(" ")
        if words[0] == "broken":
            raise TaskInputError("messages has 9 tokens; valid: at most 8 for this model")
        said: list[str] = []
        for word in words[: parameters["max_new_tokens"]]:
            time.sleep(parameters["seed"] % 10 / 1000)
            if cancel():
                break
            if word == "fail":
                raise RuntimeError("secret")
            piece = word if not said else f" {word}"
            said.append(piece)
            self.said.append(word)
            yield {"piece": piece}
        reason = "length" if len(said) < len(words) else "stop"
        return {"reply": "".join(said), "finish_reason": reason, "tokens": len(said), "prompt_tokens": 7}


CLASSES = {"lengths": Lengths, "chatbot": Parrot}


def version(name: str, task: str, number: int = 1, champion: bool = True) -> RegisteredVersion:
    """A registered version of nothing."""
    now = datetime.now(UTC)
    return RegisteredVersion(name, number, task, f"{name} model", champion, (), {}, now, "", "", "", "")


@dataclass
class Registry:
    """A registry that counts how often it is asked; `down` makes it fail."""

    versions: list[RegisteredVersion]
    asked: list[str | None] = field(default_factory=list)
    down: Exception | None = None

    def find(self, reference: str) -> RegisteredVersion:
        self.asked.append(reference)
        if self.down:
            raise self.down
        for one in self.versions:
            if reference == one.key or (one.champion and reference in (one.name, f"{one.name}@champion")):
                return one
        raise ModelNotFoundError(f"there is no registered model {reference}")

    def listed(self, task: str | None) -> list[RegisteredVersion]:
        self.asked.append(task)
        if self.down:
            raise self.down
        return [one for one in self.versions if task in (None, one.task)]


def registry() -> Registry:
    """One with a model for each of the tasks here, and another chatbot that is no champion."""
    other = version("chatbot", "chatbot", 1, champion=False)
    return Registry([version("lengths", "lengths"), version("chatbot", "chatbot", 2), other])


def load(key: str) -> Task:
    """The task of a version's key, wrapped as the gateway wants it."""
    return RequestTask(CLASSES[key.split("/")[0]](Path(), key))


@dataclass
class Parts:
    app: FastAPI
    gateway: Gateway
    metrics: Metrics
    registry: Registry


def parts(
    settings: Settings | None = None, found: Registry | None = None, loads: Callable[[str], Task] = load
) -> Parts:
    """A gateway over tasks of no weights. Whoever makes one must close it."""
    settings, found, metrics = settings or Settings(), found or registry(), Metrics()
    worker = Worker(loads, GIGABYTE)
    gateway = Gateway(worker, Directory(found.find, found.listed), metrics, settings.queue)
    return Parts(application(settings, gateway, metrics), gateway, metrics, found)


@asynccontextmanager
async def running(settings: Settings | None = None, **options: Any) -> AsyncIterator[Parts]:
    """The same within an event loop, closed at the end."""
    made = parts(settings, **options)
    try:
        yield made
    finally:
        await made.gateway.close()


@pytest.fixture(scope="module")
def no_weights() -> Iterator[None]:
    """Tasks of no weights beside, and in place of, the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "lengths", TaskRecord("tests.support.gateway:Lengths"))
        patch.setitem(TASKS, "chatbot", TaskRecord("tests.support.gateway:Parrot"))
        yield


class Client:
    """One request to an ASGI application, by hand: it can send slowly, read slowly, and leave."""

    def __init__(self, app: FastAPI, path: str, body: Any, client: str = "127.0.0.1", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.app = app
        self.chunks = [content]
        named = {"host": "127.0.0.1", "content-type": "application/json", **headers}
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": pairs,
            "client": (client, 1),
            "server": ("127.0.0.1", 80),
            "asgi": {"version": "3.0"},
        }
        self.leave = asyncio.Event()
        self.stall = False  # never sends the end of its body
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = b""
        self.arrived = asyncio.Condition()

    async def ask(self) -> "Client":
        """Send the request and read the answer to its end."""
        await self.app(self.scope, self._receive, self._send)
        return self

    def json(self) -> Any:
        return json.loads(self.content)

    def events(self) -> list[tuple[str, Any]]:
        """Server-sent events: name (empty for none) and data."""
        return sent_events(self.content)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be true after one of the next parts of the answer."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(condition), PATIENCE)

    async def _receive(self) -> dict[str, Any]:
        if self.chunks:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks) or self.stall}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        async with self.arrived:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self.content += message["body"]
            self.arrived.notify_all()


def sent_events(content: bytes) -> list[tuple[str, Any]]:
    """Server-sent events of a whole stream."""
    events = []
    for block in content.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if fields:
            data = fields["data"]
            events.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return events


def run_async(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a coroutine as a test."""

    def run() -> None:
        Parrot.said.clear()
        asyncio.run(asyncio.wait_for(test(), PATIENCE))  # type: ignore[arg-type]

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to be true, looking often."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.001)


def words(number: int) -> Row:
    """A row of the parrot that takes a while: so many words."""
    return {"messages": [{"role": "user", "content": " ".join(map(str, range(number)))}]}
