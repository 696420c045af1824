"""Language models as GGUF, run by llama.cpp (package xllamacpp). Needs neither torch nor transformers."""

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xllamacpp

from tasks.base import Cancel, ModelFolderError
from tasks.engines.gguf import GgufModel, read_gguf
from tasks.engines.language_model import (
    COLDEST,
    ChatTemplateError,
    Following,
    LanguageModel,
    Tokens,
    Written,
    stop_strings,
)
from tasks.engines.llama_server import LlamaRefusalError, LlamaServer
from tasks.engines.streaming import Emit
from tasks.engines.threads import OtherLoad, threads_beside, usable_cores

WINDOW = 4096  # attention over more takes a CPU minutes, and the memory of it is reserved
TOLD = 500  # of so many tokens `read` tells the probability: a tenth of a second for five thousand
REMEMBERED = 256  # tokens that two prompts share before the second is not read from its start
RANDOM_SEED = 2**32 - 1  # llama.cpp takes this seed for "any"
CERTAIN = 1e6  # added to a token's score, nothing else can be drawn
SPACED = r"root ::= [ \t\n] [^\x00]*"  # a text that begins with white space, in llama.cpp's own grammars
# Where people wrote what looks like a control token, it stands for it until the conversation has its form.
FIRST_PRIVATE = 0xF0000


class LlamaModel(LanguageModel):
    """A GGUF file on llama.cpp. A conversation for one without a chat template is its messages, a line each."""

    paths_at_once = 1  # one of its calls answers one of them, and the next may then be spared

    def __init__(self, path: Path, device: str) -> None:
        load = OtherLoad()
        self.file = read_gguf(path)
        self.window = min(self.file.context_length, WINDOW)
        _check_memory(self.file, self.memory_bytes())
        self.device = device
        self.parameters, self.vocabulary_size = self.file.parameters, len(self.file.tokens)
        self.bos, self.eos = (self.file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
        self.has_chat_template = self.file.chat_template is not None
        self.control = self.file.control_tokens()
        self._bytes: dict[int, bytes] = {}
        self._load, self._cores = load, usable_cores()
        self._lock = threading.Lock()
        self._last_prompt: list[int] = []
        self._server = self._serve(threads_beside(load.cores() or 0.0, self._cores))
        self.letter = self._tokens("a", special=False, begin=False)[-1]

    def encode(self, text: str) -> list[int]:
        return self._tokens(text, special=False, begin=True)

    def encode_chat(self, messages: Sequence[dict[str, str]], *, continues: bool) -> list[int]:
        if not self.has_chat_template:
            return self.encode("\n".join(message["content"] for message in messages) + ("" if continues else "\n"))
        written = {chr(FIRST_PRIVATE + number): text for number, text in self.control.items()}
        hidden = [{**message, "content": _replaced(message["content"], written)} for message in messages]
        try:
            form = self._server.ask("/apply-template", {"messages": hidden})["prompt"]
        except LlamaRefusalError as error:
            # It shows the place in the template too, in several lines.
            raise ChatTemplateError(str(error).rsplit("Exception: ", 1)[-1].splitlines()[0]) from error
        tokens: list[int] = []
        for part, literal in _divided(form, written):
            tokens += self._tokens(part, special=not literal, begin=not tokens)
        return tokens

    def write(
        self,
        tokens: list[int],
        parameters: dict[str, Any],
        emit: Emit,
        cancel: Cancel,
        *,
        continues: bool,  # noqa: ARG002 - llama.cpp keeps a first space in any case
        spaced: bool = False,
    ) -> Written:
        started = time.perf_counter()
        if cancel():
            return Written("", 0, 0.0, "cancelled")
        stops = stop_strings(parameters["stop"])
        pieces = _Pieces(emit, cancel)
        cold = parameters["temperature"] < COLDEST
        self._complete(
            {
                "prompt": tokens,
                "n_predict": parameters["max_new_tokens"],
                # In this order transformers applies them too.
                "samplers": ["penalties", "temperature", "top_k", "top_p"],
                "temperature": 0 if cold else parameters["temperature"],
                "top_k": parameters["top_k"],
                "top_p": parameters["top_p"],
                "repeat_penalty": parameters["repetition_penalty"],
                "repeat_last_n": self.window,
                "seed": parameters["seed"] % RANDOM_SEED,
                "stop": stops,
                "cache_prompt": self._shares_enough(tokens),
                "stream": True,
                "timings_per_token": True,
                **({"grammar": SPACED} if spaced else {}),
            },
            pieces,
        )
        # Its count has the model's end in it. (Of two ways to stop it does not say which it was.)
        written = pieces.tokens - (pieces.finish_reason == "stop" and not stops)
        return Written(pieces.text, written, time.perf_counter() - started, pieces.finish_reason)

    def read(self, prompt: list[int]) -> Callable[[Sequence[Tokens]], list[Following]]:
        return lambda paths: [self._following([*prompt, *path]) for path in paths]

    def texts_of(self, paths: Sequence[Tokens]) -> list[str]:
        return [b"".join(self._bytes[token] for token in path).decode(errors="replace") for path in paths]

    def log_likelihood(self, text: str) -> tuple[float, int, int]:
        tokens = self.encode(text)
        begins = bool(tokens) and tokens[0] == self.bos
        begin, room = tokens[:1] if begins else [], self.window - 1
        total, first = 0.0, ""
        for start in range(1, len(tokens), room):
            window = [*(begin or tokens[start - 1 : start]), *tokens[start : start + room]]
            total += sum(self._log_probability(window[:place], window[place]) for place in range(1, len(window)))
        if tokens and not begins:
            first = self._server.ask("/detokenize", {"tokens": tokens[:1]})["content"]
        return total, max(0, len(tokens) - 1), len(text.encode()) - len(first.encode())

    def memory_bytes(self) -> int:
        return self.file.file_bytes + self.file.cache_bytes(self.window)

    def _shares_enough(self, prompt: list[int]) -> bool:
        """Whether a prompt begins as the last one did, for long enough that reading it again would be felt.

        What is remembered changes the last bits of the probabilities, and a seed might give another text.
        """
        pairs = zip(prompt, self._last_prompt, strict=False)
        shared = next((place for place, (one, other) in enumerate(pairs) if one != other), len(self._last_prompt))
        self._last_prompt = prompt
        return shared >= REMEMBERED

    def _following(self, tokens: list[int]) -> Following:
        told = self._next(tokens, self.letter, TOLD)["top_logprobs"]
        told = [one for one in told if math.isfinite(one["logprob"])]
        for one in told:
            self._bytes[one["id"]] = b"" if one["id"] in self.control else bytes(one["bytes"])
        return Following(
            np.array([one["id"] for one in told]), np.exp([one["logprob"] for one in told], dtype=np.float64)
        )

    def _log_probability(self, tokens: list[int], token: int) -> float:
        """That of a token after others: it is told of the one that is drawn, if its bytes are whole characters."""
        drawn = self._next(tokens, token, 1)
        if drawn is not None:
            return drawn["logprob"]
        every = self._next(tokens, self.letter, self.vocabulary_size)["top_logprobs"]
        return next(one["logprob"] for one in every if one["id"] == token)

    def _next(self, tokens: list[int], drawn: int, told: int) -> Any:
        """What llama.cpp tells of a token drawn after others and of the likeliest ones there, or None.

        Probabilities are those before the draw, which `drawn` is made to win.
        """
        answer: list[dict[str, Any]] = []
        order = {"prompt": tokens, "n_predict": 1, "temperature": 0, "logit_bias": [[drawn, CERTAIN]], "n_probs": told}
        self._complete(order, answer.append)
        found = answer[0]["choices"][0]["logprobs"]
        return found["content"][0] if found and found["content"] else None

    def _complete(self, order: dict[str, Any], take: Callable[[dict[str, Any]], bool | None]) -> None:
        """Let llama.cpp complete a prompt, on as many threads as others leave free now; see `LlamaServer.complete`."""
        with self._lock:
            others = self._load.cores()
            if others is not None and (threads := threads_beside(others, self._cores)) != self._server.threads:
                del self._server  # two would take twice the memory
                self._server = self._serve(threads)
            self._server.complete(order, take)

    def _serve(self, threads: int) -> LlamaServer:
        try:
            return LlamaServer(self.file.path, self.window, threads, gpu=self.device != "cpu")
        except RuntimeError as error:
            raise ModelFolderError(
                f"{self.file.path} cannot be run: llama.cpp (xllamacpp {xllamacpp.__version__}) does not know its "
                f"architecture {self.file.architecture!r}, or lacks a part of the model"
            ) from error

    def _tokens(self, text: str, *, special: bool, begin: bool) -> list[int]:
        """The tokens of a text. Args: special: what looks like a control token is one."""
        order = {"content": text, "add_special": begin, "parse_special": special}
        return self._server.ask("/tokenize", order)["tokens"]


class _Pieces:
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


_loaded: "weakref.WeakValueDictionary[tuple[Path, str], LlamaModel]" = weakref.WeakValueDictionary()
_loading = threading.Lock()


def open_gguf(path: Path, device: str) -> LlamaModel:
    """The model of a file, loaded once however many tasks hold it. Raises ModelFolderError."""
    key = (path.resolve(), device)
    with _loading:
        model = _loaded.get(key)
        if model is None:
            model = _loaded[key] = LlamaModel(path, device)  # the parts of a divided file lie beside a link
        return model


def _check_memory(file: GgufModel, needed: int) -> None:
    free = psutil.virtual_memory().available
    if needed > free:
        raise ModelFolderError(
            f"{file.path} needs {needed / 1e9:.2f} GB of memory, more than the {free / 1e9:.2f} GB that are free"
        )


def _replaced(text: str, written: dict[str, str]) -> str:
    """A text with stand-ins for what looks like control tokens, the longest first."""
    for stand_in, token in sorted(written.items(), key=lambda item: -len(item[1])):
        text = text.replace(token, stand_in)
    return text


def _divided(text: str, written: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """The parts of a text: what the template and people wrote, and what stands for something literal."""
    start = 0
    for place, character in enumerate(text):
        if character in written:
            if place > start:
                yield text[start:place], False
            yield written[character], True
            start = place + 1
    if start < len(text):
        yield text[start:], False
