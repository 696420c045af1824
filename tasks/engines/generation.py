"""What the tasks that write text share: their parameters, and that they answer in pieces."""

from abc import abstractmethod
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.base import Cancel, each_row
from tasks.engines.language_model import LanguageModel, Written
from tasks.engines.pretrained import PretrainedTask
from tasks.engines.streaming import Emit, Event, follow
from tasks.hub.checks import GGUF
from tasks.hub.names import Source
from tasks.hub.source import read_source, runs_on_llama, weights
from tasks.parameters import Parameters, option

MAX_NEW_TOKENS = 4096
# Tokens of the window that are kept for what is written, before some of the prompt is left out; half of a small window.
RESERVED = 256
SPACES = " \t"
TEMPERATURE_HELP = "higher is more random; 0 always takes the most probable token"


class Sampling(Parameters):
    """Of the tasks that write on from a text."""

    max_new_tokens: int = option(100, "maximum number of new tokens", ge=1, le=MAX_NEW_TOKENS)
    temperature: float = option(0.7, TEMPERATURE_HELP, ge=0, le=5)
    top_p: float = option(0.95, "draw among the likeliest tokens that together have this probability", ge=0, le=1)
    top_k: int = option(50, "draw among this number of the likeliest tokens; 0 among all", ge=0, le=1000)
    repetition_penalty: float = option(1.0, "above 1 penalizes repeated tokens", ge=0.5, le=2)
    seed: int = option(0, "the same seed gives the same text", ge=0, le=2**32 - 1)
    stop: str = option("", r"end before this text; several: one a line; \n stands for a line break", max_length=1000)


def without_first_space(emit: Emit) -> Emit:
    """Emits pieces without the space that the first of them begins with."""
    begun = False

    def emit_rest(event: Event) -> None:
        nonlocal begun
        piece = event["piece"] if begun else event["piece"].removeprefix(" ")
        begun = True
        if piece:
            emit({"piece": piece})

    return emit_rest


class WritingTask(PretrainedTask):
    """A task whose model writes text. A subclass says how in `write`; asked for a stream, it comes in pieces."""

    wide_range = True

    @abstractmethod
    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        """The output row of a checked row; pieces are emitted as they come."""

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        # One at a time: the text of a row is then the same in any company.
        return each_row(rows, lambda row: self._alone(row, parameters, lambda _event: None, cancel))

    def stream_answer(
        self, row: dict[str, Any], parameters: dict[str, Any], cancel: Cancel
    ) -> Generator[Event, None, dict[str, Any]]:
        result = yield from follow(lambda emit, cancelled: self._alone(row, parameters, emit, cancelled), cancel)
        return result

    def _alone(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        with self.lock:
            return self.write(row, parameters, emit, cancel)


class LanguageTask(PretrainedTask):
    """A task of a language model, which either engine runs."""

    @classmethod
    def needs(cls, folder: Path) -> tuple[str, ...]:
        if not runs_on_llama(folder):
            return cls.requirements
        by_reference = isinstance(read_source(folder), Source)
        return ("xllamacpp", "psutil", "huggingface-hub") if by_reference else ("xllamacpp", "psutil")

    def load(self) -> None:
        self.engine = open_language_model(self.folder, self.device)
        self.window = self.engine.window
        self.at_once = self.engine.at_once
        if self.at_once > 1:
            self.lock = nullcontext()  # the engine sees to it

    def write_on(self, text: str, tokens: list[int], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> Written:
        """What follows a text. `tokens` end before its last spaces: a word's own token brings them along."""
        read = text.rstrip(SPACES)
        typed = read != text
        written = self.engine.write(
            tokens,
            parameters,
            without_first_space(emit) if typed else emit,
            cancel,
            continues=True,
            spaced=typed and read != "" and not read[-1].isspace(),
        )
        return replace(written, text=written.text.removeprefix(" ")) if typed else written

    def unknown_parts(self, text: str) -> list[str]:
        return self.engine.unknown_parts(text)

    def memory_bytes(self) -> int:
        return self.engine.memory_bytes() if hasattr(self, "engine") else 0

    @property
    def longest(self) -> int:
        """The most tokens to write: the window less one of the prompt."""
        return self.window - 1

    def room(self, parameters: dict[str, Any]) -> int:
        """How many tokens a prompt may have before some of it is left out."""
        return self.window - min(parameters["max_new_tokens"], RESERVED, self.window // 2)

    def fitted(self, parameters: dict[str, Any], tokens: list[int]) -> dict[str, Any]:
        """The parameters, with no more tokens to write than a prompt leaves of the window."""
        return {**parameters, "max_new_tokens": min(parameters["max_new_tokens"], self.window - len(tokens))}


def open_language_model(folder: Path, device: str) -> LanguageModel:
    """The loaded model of a task's folder: a GGUF file runs on llama.cpp, safetensors on transformers.

    Raises ModelFolderError, in one line, if that is not possible.
    """
    place = weights(folder)
    if place.suffix == GGUF:
        from tasks.engines.llama import open_gguf

        return open_gguf(place, device)
    from tasks.engines.causal import CausalModel

    return CausalModel(place, device)
