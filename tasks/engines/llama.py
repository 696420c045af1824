"""Language models as GGUF, run by llama.cpp (package xllamacpp). Needs neither torch nor transformers."""

import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tasks.base import Cancel, ModelFolderError, TaskInputError
from tasks.engines.control_tokens import divided, kept_apart, replaced, stand_ins
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
from tasks.engines.llama_adaptive import AT_ONCE, AdaptiveServer
from tasks.engines.llama_chat import ChatRequest, Choice, refused
from tasks.engines.llama_server import LlamaRefusalError, Pieces
from tasks.engines.streaming import Emit
from tasks.engines.threads import OtherLoad

CACHED = 2  # windows that all of them together have room for
WINDOW = 4096  # attention over more takes a CPU minutes, and the memory of it is reserved
TOLD = 500  # tokens whose probability `read` gives: a tenth of a second for five thousand
RANDOM_SEED = 2**32 - 1  # llama.cpp takes this seed for "any"
CERTAIN = 1e6  # added to a token's score, nothing else can be drawn
SPACED = r"root ::= [ \t\n] [^\x00]*"  # a text that begins with white space, in llama.cpp's own grammars


class LlamaModel(LanguageModel):
    """A GGUF file on llama.cpp. A conversation for one without a chat template is its messages, a line each."""

    at_once = AT_ONCE
    paths_at_once = 1  # one of its calls answers one of them, and the next may then be spared

    def __init__(self, path: Path, device: str) -> None:
        load = OtherLoad()  # measures from now on
        self.file = read_gguf(path)
        self.window = min(self.file.context_length, WINDOW)
        _check_memory(self.file, self.memory_bytes())
        self.device = device
        self.parameters, self.vocabulary_size = self.file.parameters, len(self.file.tokens)
        self.bos, self.eos = (self.file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
        self.has_chat_template = self.file.chat_template is not None
        self.control = self.file.control_tokens()
        self._bytes: dict[int, bytes] = {}
        self.server = AdaptiveServer(self.file, self._cells, load, gpu=device != "cpu")
        self.letter = self._tokens("a", special=False, begin=False)[-1]

    def encode(self, text: str) -> list[int]:
        return self._tokens(text, special=False, begin=True)

    def encode_chat(self, messages: Sequence[dict[str, str]], *, continues: bool) -> list[int]:
        if not self.has_chat_template:
            return self.encode("\n".join(message["content"] for message in messages) + ("" if continues else "\n"))
        written = stand_ins(self.control)
        hidden = [{**message, "content": replaced(message["content"], written)} for message in messages]
        try:
            form = self.server.ask("/apply-template", {"messages": hidden})["prompt"]
        except LlamaRefusalError as error:
            # It shows the place in the template too, in several lines.
            raise ChatTemplateError(str(error).rsplit("Exception: ", 1)[-1].splitlines()[0]) from error
        tokens: list[int] = []
        for part, literal in divided(form, written):
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
        pieces = Pieces(emit, cancel)
        order = {
            "n_predict": parameters["max_new_tokens"],
            "stop": stops,
            **self._sampling(parameters),
            **({"grammar": SPACED} if spaced else {}),
        }
        self.server.complete(tokens, order, pieces, cancel)
        # Its count has the model's end in it. (Of two ways to stop it does not say which it was.)
        written = pieces.tokens - (pieces.finish_reason == "stop" and not stops)
        return Written(pieces.text, written, time.perf_counter() - started, pieces.finish_reason)

    def chat(
        self, order: dict[str, Any], plain: list[dict[str, Any]], parameters: dict[str, Any], emit: Emit, cancel: Cancel
    ) -> tuple[int, list[Choice]]:
        talk = ChatRequest(order, kept_apart(plain, self.control), takes_tools=self._takes_tools)
        form = {"messages": kept_apart(talk.messages, self.control), **talk.order}
        try:
            prompt = self._tokens(self.server.ask("/apply-template", form)["prompt"], special=True, begin=True)
            if len(prompt) >= self.window:
                raise TaskInputError(
                    f"messages has {len(prompt)} tokens; valid: at most {self.window - 1} for this model"
                )
            together = max(1, (self._cells - len(prompt)) // talk.count)  # what the cache holds of each of several
            most = min(parameters["max_new_tokens"], self.window - len(prompt), together)
            asked = {**form, **self._sampling(parameters), "n_predict": most}
            self.server.complete(prompt, asked, talk.taking(emit, cancel), cancel, count=talk.count)
        except LlamaRefusalError as error:
            raise refused(error) from error
        return len(prompt), talk.finish(emit)

    def _sampling(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """How tokens are drawn, in llama.cpp's words."""
        always = {
            "repeat_penalty": parameters["repetition_penalty"],
            "repeat_last_n": self.window,
            "seed": parameters["seed"] % RANDOM_SEED,
        }
        if parameters["temperature"] < COLDEST:  # no need to weigh the whole vocabulary
            return {"samplers": ["penalties", "top_k"], "top_k": 1, **always}
        return {
            # In this order transformers applies them too.
            "samplers": ["penalties", "temperature", "top_k", "top_p"],
            "temperature": parameters["temperature"],
            "top_k": parameters["top_k"],
            "top_p": parameters["top_p"],
            **always,
        }

    def read(self, prompt: list[int]) -> Callable[[Sequence[Tokens]], list[Following]]:
        return lambda paths: [self._following([*prompt, *path]) for path in paths]

    def texts_of(self, paths: Sequence[Tokens]) -> list[str]:
        return [b"".join(self._bytes[token] for token in path).decode(errors="replace") for path in paths]

    def log_likelihood(self, text: str) -> tuple[float, int, int]:
        tokens = self.encode(text)
        begins = bool(tokens) and tokens[0] == self.bos
        given, first = ("", 1) if begins else self._first_character(tokens)
        total, room = 0.0, self.window - first
        for start in range(first, len(tokens), room):
            before = tokens[:first] if begins or start == first else tokens[start - 1 : start]
            window = [*before, *tokens[start : start + room]]
            places = range(len(before), len(window))
            total += sum(self._log_probability(window[:place], window[place]) for place in places)
        return total, max(0, len(tokens) - first), len(text.encode()) - len(given.encode())

    def _first_character(self, tokens: list[int]) -> tuple[str, int]:
        """What a text begins with, and how many tokens it is: a character may be several."""
        for count in range(1, len(tokens) + 1):
            text = self.server.ask("/detokenize", {"tokens": tokens[:count]})["content"]
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):
                return text, count
        return "", len(tokens)

    def memory_bytes(self) -> int:
        return self.file.file_bytes + self.file.cache_bytes(self._cells)

    @property
    def _cells(self) -> int:
        """Tokens of all conversations together that the cache of keys and values has room for."""
        return CACHED * self.window

    def _following(self, tokens: list[int]) -> Following:
        told = self._next(tokens, self.letter, TOLD)["top_logprobs"]
        told = [one for one in told if math.isfinite(one["logprob"])]
        for one in told:
            self._bytes[one["id"]] = b"" if one["id"] in self.control else bytes(one["bytes"])
        return Following(
            np.array([one["id"] for one in told]), np.exp([one["logprob"] for one in told], dtype=np.float64)
        )

    def _log_probability(self, tokens: list[int], token: int) -> float:
        """That of a token after others: llama.cpp gives it for the token drawn, if its bytes are whole characters."""
        drawn = self._next(tokens, token, 1)
        if drawn is not None:
            return drawn["logprob"]
        every = self._next(tokens, self.letter, self.vocabulary_size)["top_logprobs"]
        return next(one["logprob"] for one in every if one["id"] == token)

    def _next(self, tokens: list[int], drawn: int, told: int) -> Any:
        """What llama.cpp says about a token drawn after others and about the likeliest ones there, or None.

        Probabilities are those before the draw, which `drawn` is made to win.
        """
        answer: list[dict[str, Any]] = []
        order = {"n_predict": 1, "temperature": 0, "logit_bias": [[drawn, CERTAIN]], "n_probs": told, "stream": False}
        self.server.complete(tokens, order, answer.append, least=1)
        found = answer[0]["choices"][0]["logprobs"]
        return found["content"][0] if found and found["content"] else None

    @cached_property
    def _takes_tools(self) -> bool:
        """Whether the model's chat template describes functions."""
        function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
        form = {"messages": [{"role": "user", "content": "a"}]}
        tools = {"tools": [{"type": "function", "function": function}]}
        return self.server.ask("/apply-template", form) != self.server.ask("/apply-template", {**form, **tools})

    def _tokens(self, text: str, *, special: bool, begin: bool) -> list[int]:
        """The tokens of a text. Args: special: what looks like a control token is one."""
        order = {"content": text, "add_special": begin, "parse_special": special}
        return self.server.ask("/tokenize", order)["tokens"]


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
