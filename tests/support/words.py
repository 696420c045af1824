"""A task of no weights for tests of the worker, and what loads it."""

import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.base import ModelFolderError, Task
from tasks.parameters import Parameters, option
from tasks.runtime.jobs import Job
from tests.support.weightless import Weightless

MB = 10**6
PATIENCE = 60  # seconds until a test that waits has failed


class Pause(Parameters):
    pause_ms: int = option(0, "before each word", ge=0, le=10_000)


class Words(Weightless):
    """Says its text word by word, each after `pause_ms`; fails or goes wrong where the text says so."""

    name = "words"
    parameters = Pause
    size = 10 * MB

    def memory_bytes(self) -> int:
        return self.size

    def stream_answer(self, row: Any, parameters: Any, cancel: Any) -> Any:
        said = []
        for word in row["text"].split():
            time.sleep(parameters["pause_ms"] / 1000)
            if cancel():
                return {"text": " ".join(said), "finish_reason": "cancelled"}
            if word == "fail":
                raise RuntimeError("the device is out of memory")
            if word == "exit":
                sys.exit(3)
            said.append(word)
            yield {"piece": word}
        return {"text": " ".join(said), "finish_reason": "stop"}


class Loads:
    """Makes tasks and remembers which and when; loading waits while `gate` is closed."""

    def __init__(self, size: int = 10 * MB) -> None:
        self.size = size
        self.keys: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.tasks: weakref.WeakSet[Task] = weakref.WeakSet()

    def __call__(self, key: str) -> Task:
        self.keys.append(key)
        assert self.gate.wait(PATIENCE)
        if key == "broken":
            raise ModelFolderError("broken is damaged")
        task = Words(Path(), key)
        task.size = int(key.split("-")[1]) * MB if "-" in key else self.size
        self.tasks.add(task)
        return task


class Countdown:
    """A `cancel` that turns true when it has been looked at `looks` times; counts the looks after that."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        self.late = 0

    def __call__(self) -> bool:
        self.left -= 1
        self.late += self.left < -1
        return self.left < 0


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def text(job: Job) -> str:
    return job.result(PATIENCE)["text"]
