"""A llama.cpp server of one model that is restarted with the number of threads that other programs leave free."""

import threading
from collections.abc import Callable
from typing import Any

import xllamacpp

from tasks.base import Cancel, ModelFolderError, never
from tasks.engines.gguf import GgufModel
from tasks.engines.llama_server import LlamaServer
from tasks.engines.slots import REMEMBERED, Slots
from tasks.engines.threads import OtherLoad, threads_beside, usable_cores

AT_ONCE = 4  # conversations
MANY_MORE, STAY_FREE = 1.5, 3  # times the threads that a server has; looks in a row


class AdaptiveServer:
    """Completes prompts in slots, a few at once; `cells` is the number of tokens that its cache has room for."""

    def __init__(self, file: GgufModel, cells: int, load: OtherLoad, *, gpu: bool) -> None:
        self._file, self._cells, self._gpu = file, cells, gpu
        self._load, self._cores = load, usable_cores()
        self._threads = threads_beside(load.cores() or 0.0, self._cores)
        self._more_free = 0  # looks in a row at which there were more
        self._slots = Slots(AT_ONCE, cells)
        self._serving, self._running = threading.Lock(), None

    def ask(self, path: str, order: dict[str, Any]) -> Any:
        """What the server answers at once; see `LlamaServer.ask`."""
        return self.running.ask(path, order)

    def complete(
        self,
        prompt: list[int],
        order: dict[str, Any],
        take: Callable[[dict[str, Any]], bool | None],
        cancel: Cancel = never,
        *,
        least: int = REMEMBERED,
        count: int = 1,
    ) -> None:
        """Let llama.cpp complete a prompt, with the threads that others leave free now; see `LlamaServer.complete`.

        Args: prompt: also that of a conversation, which the order has as `messages`; count: of answers.

        Raises TaskStopped when `cancel` turns true before it began.
        """
        needed = len(prompt) + count * order["n_predict"]
        every = count > 1  # llama.cpp chooses their slots itself
        with self._slots.take(prompt, needed, cancel, ready=self._ready, least=least, every=every) as (slot, remembers):
            if every:
                self._empty_slots()
            chosen = {"cache_prompt": remembers} if every else {"cache_prompt": remembers, "id_slot": slot}
            given = {"stream": True, "timings_per_token": True, "return_progress": True, **order, **chosen}
            self.running.complete(given if "messages" in order else {"prompt": prompt, **given}, take)

    def _empty_slots(self) -> None:
        """Have all slots forget what they read. Where idle ones fill the cache, several answers to one prompt fail:
        llama.cpp then empties slots that were to begin with it."""
        for slot in range(AT_ONCE):
            order = {"prompt": [0], "n_predict": 1, "id_slot": slot, "cache_prompt": False}
            self.running.complete(order, lambda _answer: None)

    def _ready(self, alone: bool) -> bool:
        """Whether the server has the threads that others leave free now. If no other request runs, it is restarted
        with them; otherwise too few may do for a while, too many may not."""
        others = self._load.cores()
        has = self.running.threads
        if others is not None:
            self._threads = threads_beside(others, self._cores)
            self._more_free = self._more_free + 1 if self._threads > has else 0
        # Making it anew takes seconds and forgets what was read: for more threads only if they are many, or stay free.
        many = self._threads >= MANY_MORE * has or self._more_free >= STAY_FREE
        if alone and (self._threads < has or (self._threads > has and many)):
            self._more_free = 0
            with self._serving:
                self._running = None  # two would take twice the memory
            self._slots.forget()
        return self._threads >= self.running.threads

    @property
    def running(self) -> LlamaServer:
        """The one that runs. Others may ask it for tokens while it is made anew, and wait for the new one."""
        with self._serving:
            if self._running is None:
                self._running = self._serve()
            return self._running

    def _serve(self) -> LlamaServer:
        try:
            return LlamaServer(self._file.path, AT_ONCE, self._cells, self._threads, gpu=self._gpu)
        except RuntimeError as error:
            raise ModelFolderError(
                f"{self._file.path} cannot be run: llama.cpp (xllamacpp {xllamacpp.__version__}) does not know its "
                f"architecture {self._file.architecture!r}, or lacks a part of the model"
            ) from error
