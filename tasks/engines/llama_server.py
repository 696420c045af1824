"""llama.cpp's server (package xllamacpp) within this process, out of reach for everybody else."""

import http.client
import json
import secrets
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import xllamacpp

from tasks.base import Cancel, ModelFolderError
from tasks.engines.streaming import Emit
from tasks.engines.threads import be_patient

# Longer names of sockets are refused by some systems.
LONGEST_NAME = 100
SILENCE_S = 120.0  # after which it hangs: a megabyte of text has its tokens in 3 s on two busy cores
READ_AT_ONCE = 512  # tokens of a prompt, as many as it computes at once; between them others write, or one is cancelled


class LlamaRefusalError(ValueError):
    """llama.cpp does not take what it was given. The text is its own."""


class LlamaServer:
    """A loaded GGUF file; what it holds is freed with it.

    The server insists on listening somewhere: on a socket in a folder that only this user can enter, where the system
    has such sockets, otherwise on a port of this machine, and in either case with a key of its own. It is asked there
    for what its calls in process do not offer.
    """

    def __init__(self, path: Path, slots: int, cells: int, threads: int, *, gpu: bool) -> None:
        """A server for `slots` concurrent conversations, which share `cells` tokens of context.

        Raises RuntimeError if llama.cpp cannot run the file; it does not say why."""
        self.threads = threads
        self._key = secrets.token_hex(32)
        folder = tempfile.mkdtemp(prefix="llama-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._socket = Path(folder) / "server.sock"
        parameters = xllamacpp.CommonParams()  # pyright: ignore[reportAttributeAccessIssue]
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = cells, slots, True
        parameters.n_batch = READ_AT_ONCE
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        parameters.n_gpu_layers = -1 if gpu else 0
        parameters.cache_ram_mib = 0
        parameters.warmup = parameters.ui = parameters.endpoint_slots = parameters.endpoint_props = False
        parameters.n_threads_http = 1
        parameters.verbosity = -1  # its log quotes prompts
        parameters.api_keys = [self._key]
        if hasattr(socket, "AF_UNIX") and len(str(self._socket)) < LONGEST_NAME:
            parameters.hostnames = [str(self._socket)]
        server = partial(xllamacpp.Server, parameters)  # pyright: ignore[reportAttributeAccessIssue]
        # Threads are as patient as the one that makes them, and none may become less patient again.
        with ThreadPoolExecutor(1, initializer=be_patient) as maker:
            self._server: Any = maker.submit(server).result()
        # A server that ends before its loop has begun waits for it forever.
        self.complete({"prompt": [0], "n_predict": 1}, lambda _answer: None)

    @property
    def address(self) -> str:
        """Where it listens: `unix://` and a file, or `http://` and a port."""
        return self._server.listening_address

    def complete(self, order: dict[str, Any], take: Callable[[dict[str, Any]], bool | None]) -> None:
        """Complete a prompt, or answer a conversation. As long as llama.cpp computes there is no way out of the call
        but `take`, which it asks after each part of a prompt and each token.

        Args:
            order: as the completions of llama.cpp's server have it; with `messages` as its chat completions do.
            take: is given what comes: with `stream` a piece for each token; true ends the work there.

        Raises LlamaRefusalError, and what `take` raises.
        """
        failed: list[BaseException] = []

        def event(chunk: dict[str, Any]) -> bool:
            try:
                if "error" in chunk:
                    raise LlamaRefusalError(chunk["error"]["message"])
                return bool(take(chunk))
            except BaseException as error:  # raised below: between here and there is C++
                failed.append(error)
                return True

        handle = self._server.handle_chat_completions if "messages" in order else self._server.handle_completions
        try:
            answer = handle(order, event if order.get("stream") else None)
        except ValueError as error:
            raise LlamaRefusalError(str(error)) from error
        if answer is not None:
            event(answer)
        if failed:
            raise failed[0]

    def ask(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request over HTTP, for which nothing is computed by the model.

        Raises LlamaRefusalError; ModelFolderError where nothing comes for `SILENCE_S`.
        """
        connection = _Connection(self.address, self._socket)
        try:
            connection.request("POST", path, json.dumps(content), {"Authorization": f"Bearer {self._key}"})
            answer = json.load(connection.getresponse())
        except TimeoutError as error:
            raise ModelFolderError(f"llama.cpp has not answered {path} for {SILENCE_S:g} s") from error
        finally:
            connection.close()
        if "error" in answer:
            raise LlamaRefusalError(answer["error"]["message"])
        return answer


class Pieces:
    """What llama.cpp writes, token by token."""

    def __init__(self, emit: Emit, cancel: Cancel) -> None:
        self.emit, self.cancel = emit, cancel
        self.text, self.tokens, self.finish_reason = "", 0, "cancelled"

    def __call__(self, chunk: dict[str, Any]) -> bool:
        choice = chunk["choices"][0]
        self.tokens = chunk.get("timings", {}).get("predicted_n", self.tokens)
        if choice["text"]:
            self.text += choice["text"]
            self.emit({"piece": choice["text"]})
        if choice["finish_reason"]:
            self.finish_reason = choice["finish_reason"]
            return False
        return self.cancel()


class _Connection(http.client.HTTPConnection):
    """To where a server listens."""

    def __init__(self, address: str, file: Path) -> None:
        host = address.removeprefix("http://") if address.startswith("http://") else "localhost"
        super().__init__(host, timeout=SILENCE_S)
        self._file = None if address.startswith("http://") else file

    def connect(self) -> None:
        if self._file is None:
            super().connect()
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._file))
