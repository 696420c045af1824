"""From a library that reports through callbacks to a stream that its reader pulls, without delay."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from tasks.base import Cancel

Event = dict[str, Any]
Emit = Callable[[Event], None]
Result = TypeVar("Result")


def follow(work: Callable[[Emit, Cancel], Result], cancel: Cancel) -> Generator[Event, None, Result]:
    """Run `work(emit, cancel)` in a thread; yield its events the moment it emits them, return what it returns.

    What it raises is raised here. A reader that goes away cancels the work and waits until it has ended, so that no
    work continues unseen.
    """
    events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    gone = threading.Event()

    def run() -> None:
        try:
            result = work(lambda event: events.put(("event", event)), lambda: gone.is_set() or cancel())
            events.put(("result", result))
        except BaseException as error:  # is raised where it is read
            events.put(("error", error))

    thread = threading.Thread(target=run, name="task-stream", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = events.get()
            if kind == "error":
                raise value
            if kind == "result":
                return value
            yield value
    finally:
        gone.set()
        thread.join()
