"""The models in memory: loaded when they are asked for, within a budget; the longest unused make room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tasks.base import Task
from tasks.runtime.memory import DeviceFullError, forget_frames, give_memory_back, is_full

GIGABYTE = 10**9


class ModelTooLargeError(Exception):
    """A model does not fit into the memory budget, even alone."""


@dataclass(frozen=True)
class Expected:
    """What is known of a model before it is loaded.

    Attributes:
        bytes: that it will take; None if unknown.
        weights: names the file that it shares with other models; empty if it shares none.
    """

    bytes: int | None = None
    weights: str = ""


class LoadedModels:
    """Tasks by their keys. One thread loads; any may look."""

    def __init__(self, load: Callable[[str], Task], budget_bytes: int, expected: Callable[[str], Expected]) -> None:
        """Args: as of `Worker`."""
        self.budget_bytes = budget_bytes
        self._load, self._expected = load, expected
        self._loaded: OrderedDict[str, tuple[Task, int]] = OrderedDict()  # longest unused first
        self._weights: dict[str, str] = {}  # of all that were ever loaded
        self._lock = threading.Lock()

    def get(self, key: str) -> Task | None:
        """The task of a key, if it is loaded."""
        with self._lock:
            return self._loaded.get(key, (None, 0))[0]

    def sizes(self) -> tuple[dict[str, int], int]:
        """Bytes by key, longest unused first, and what all take together."""
        with self._lock:
            return {key: size for key, (_, size) in self._loaded.items()}, _bytes_of(self._loaded.values())

    def clear(self) -> None:
        """Unload all."""
        with self._lock:
            self._loaded.clear()
        give_memory_back()

    def load(self, key: str) -> None:
        """Load the model of a key if it is not, and make it the most recently used.

        Raises ModelTooLargeError, DeviceFullError, or what loading raises.
        """
        if self.get(key) is None:
            expected = self._expected(key)
            if expected.bytes is not None and not self._holds(expected.weights):
                self._make_room(key, expected.bytes)
            task = self._load_with_room(key)
            size = task.memory_bytes()
            self._make_room(key, size, task)
            with self._lock:
                self._loaded[key] = (task, size)
                self._weights[key] = expected.weights
        with self._lock:
            self._loaded.move_to_end(key)

    def full(self, key: str) -> DeviceFullError:
        """What to say of a full device; first the other models leave it."""
        if self._unload_others(key):
            return DeviceFullError(f"{key} ran out of the device's memory; other models have been unloaded: try again")
        return DeviceFullError(
            f"{key} needs more memory than the device has; a shorter input or a smaller model may fit"
        )

    def _holds(self, weights: str) -> bool:
        """Whether these are in memory already, behind another model: loading then takes nothing more."""
        with self._lock:
            return bool(weights) and any(self._weights[key] == weights for key in self._loaded)

    def _load_with_room(self, key: str) -> Task:
        """Load a model; once more without the others, if the device is full: the budget is not the device's memory."""
        for _ in range(2):
            try:
                return self._load(key)
            except Exception as error:
                if not is_full(error):
                    raise
                forget_frames(error)
            if not self._unload_others(key):
                break
        raise self.full(key)

    def _unload_others(self, key: str) -> bool:
        """Unload every model but one; whether there were others."""
        with self._lock:
            others = [other for other in self._loaded if other != key]
            for other in others:
                del self._loaded[other]
        if others:
            give_memory_back()
        return bool(others)

    def _make_room(self, key: str, needed: int, task: Task | None = None) -> None:
        """Unload the longest unused models until `needed` bytes fit. Raises ModelTooLargeError if they never do.

        Args: task: what needs them, if it is loaded: it may share its weights with others.
        """
        if needed > self.budget_bytes:
            raise ModelTooLargeError(
                f"{key} needs {needed / GIGABYTE:.2f} GB of memory, "
                f"more than the {self.budget_bytes / GIGABYTE:.2f} GB that models may take"
            )
        unloaded = False
        with self._lock:
            while self._loaded and _bytes_of([*self._loaded.values(), (task, needed)]) > self.budget_bytes:
                self._loaded.popitem(last=False)
                unloaded = True
        if unloaded:
            give_memory_back()


def _bytes_of(loaded: Iterable[tuple[Task | None, int]]) -> int:
    """What tasks take together: an engine that several of them share counts once."""
    return sum({id(getattr(task, "engine", task)): size for task, size in loaded}.values())
