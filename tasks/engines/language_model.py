"""A model that continues texts, whichever engine runs it: what the tasks ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from tasks.base import Cancel, TaskInputError
from tasks.engines.streaming import Emit

# Below it the most probable token has all the probability, and dividing by it overflows.
COLDEST = 1e-3
Tokens = tuple[int, ...]
Item = TypeVar("Item")


class ChatTemplateError(ValueError):
    """The model's chat template refuses a conversation. The text says why."""


@dataclass(frozen=True)
class Written:
    """What a model wrote: `finish_reason` is `stop` (its own end, or a stop string), `length` or `cancelled`."""

    text: str
    tokens: int
    seconds: float
    finish_reason: str

    def facts(self) -> dict[str, Any]:
        """What an output row says besides the text."""
        return {
            "tokens": self.tokens,
            "tokens_per_second": self.tokens / max(self.seconds, 1e-9),
            "finish_reason": self.finish_reason,
        }


@dataclass(frozen=True)
class Following:
    """What may follow a text: tokens, int64 `(n,)`, and probabilities, float `(n,)`; the rarest may be missing."""

    tokens: np.ndarray
    probabilities: np.ndarray


class LanguageModel(ABC):
    """A loaded model that continues a sequence of tokens.

    Attributes:
        window: how many tokens it reads and writes at once.
        parameters: how many it has.
        vocabulary_size: how many tokens it knows.
        bos: the token that begins its texts; None if none does.
        eos: the token that ends a text; None if none does.
        has_chat_template: whether conversations have a form of their own.
        paths_at_once: of how many continuations `read` is best asked together.
        at_once: how many may use it at the same time.
    """

    at_once: int = 1

    window: int
    parameters: int
    vocabulary_size: int
    bos: int | None
    eos: int | None
    has_chat_template: bool
    paths_at_once: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with those that begin one."""

    @abstractmethod
    def encode_chat(self, messages: Sequence[dict[str, str]], *, continues: bool) -> list[int]:
        """The tokens of a conversation in the model's form, up to where its reply begins, or continues.

        What people write is text there, also where it looks like the end of a turn. Raises ChatTemplateError.

        Args: continues: the last message is the beginning of the reply.
        """

    @abstractmethod
    def write(
        self,
        tokens: list[int],
        parameters: dict[str, Any],
        emit: Emit,
        cancel: Cancel,
        *,
        continues: bool,
        spaced: bool = False,
    ) -> Written:
        """Continue a prompt that with `max_new_tokens` fits into the window, and emit the pieces as they come.

        Args:
            parameters: those of `tasks.engines.generation.Sampling`.
            continues: the text continues the prompt's, so that a first space counts.
            spaced: the first token is one that brings white space along.
        """

    @abstractmethod
    def read(self, prompt: list[int]) -> Callable[[Sequence[Tokens]], list[Following]]:
        """Read a prompt; returns what tells, for paths of one length, what may follow each of them behind it."""

    @abstractmethod
    def texts_of(self, paths: Sequence[Tokens]) -> list[str]:
        """The text of tokens as the continuation of a text, for tokens that `read` gave."""

    @abstractmethod
    def log_likelihood(self, text: str) -> tuple[float, int, int]:
        """The log-probability (natural) of the tokens of a text that are predicted, their number, and their bytes.

        Where the tokenizer begins a text with a token of its own, so does each window, and the first word is predicted
        too; else the first token is only read, and each later window begins with the last token of the one before.
        """

    def chat(
        self,
        order: dict[str, Any],
        plain: list[dict[str, Any]],  # noqa: ARG002
        parameters: dict[str, Any],  # noqa: ARG002
        emit: Emit,  # noqa: ARG002
        cancel: Cancel,  # noqa: ARG002
    ) -> tuple[int, list[Any]]:
        """Answer a conversation with what only some engines can do: functions, JSON by a schema, several answers, ...

        Args:
            order: `messages` and what else is asked, as OpenAI's chat completions have it.
            plain: the messages as texts alone.
            parameters: as of `write`.
            emit: is given `{"choice": part}` for each part of an answer.

        Returns how many tokens the prompt has, and the answers. Raises TaskInputError for what the engine cannot do.
        """
        asked = next((name for name in order if name != "messages"), "a call of functions")
        raise TaskInputError(f"{asked} needs a model as GGUF, on llama.cpp; valid: leave it out for this model")

    def unknown_parts(self, text: str) -> list[str]:  # noqa: ARG002
        """The parts of a text that the model does not know; by default none, as of tokenizers that know all bytes."""
        return []

    @abstractmethod
    def memory_bytes(self) -> int:
        """What it takes in memory."""


def stop_strings(parameter: str) -> tuple[str, ...]:
    """The texts named by the parameter `stop`: one a line, `\\n` written out for a line break."""
    return tuple(line.replace("\\n", "\n") for line in parameter.split("\n") if line)


def windows(items: Sequence[Item], room: int) -> list[Sequence[Item]]:
    """Items in parts of at most `room`."""
    return [items[start : start + room] for start in range(0, len(items), room)]
