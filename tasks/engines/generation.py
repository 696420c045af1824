"""What the tasks that write text share: their parameters, and that they answer in pieces."""

from abc import abstractmethod
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import torch

from tasks.base import Cancel, TaskInputError
from tasks.engines.pretrained import PretrainedTask
from tasks.engines.streaming import Emit, Event, follow
from tasks.parameters import Parameters, option

if TYPE_CHECKING:
    from tasks.engines.decoding import Written


MAX_NEW_TOKENS = 4096


class Sampling(Parameters):
    """Of the tasks that write on from a text."""

    max_new_tokens: int = option(100, "most tokens to write", ge=1, le=MAX_NEW_TOKENS)
    temperature: float = option(0.7, "higher surprises more; 0 always takes the most probable token", ge=0, le=5)
    top_p: float = option(0.95, "draw among the likeliest tokens that together have this probability", ge=0, le=1)
    top_k: int = option(50, "draw among so many of the likeliest tokens; 0 among all", ge=0, le=1000)
    repetition_penalty: float = option(1.0, "above 1 avoids tokens that were there before", ge=0.5, le=2)
    seed: int = option(0, "the same seed gives the same text", ge=0, le=2**32 - 1)
    stop: str = option("", r"end before this text; several: one a line; \n stands for a line break", max_length=1000)


def stop_strings(parameter: str) -> tuple[str, ...]:
    """The texts named by the parameter `stop`: one a line, `\\n` written out for a line break."""
    return tuple(line.replace("\\n", "\n") for line in parameter.split("\n") if line)


class WritingTask(PretrainedTask):
    """A task whose model writes text. A subclass says how in `write`; asked for a stream, it comes in pieces."""

    wide_range = True

    def load(self) -> None:
        super().load()
        config = self.model.generation_config
        # The tasks say how much to write in new tokens; a total length beside it makes transformers warn.
        config.max_length = config.min_length = None
        if config.pad_token_id is None:
            ends = config.eos_token_id
            config.pad_token_id = ends[0] if isinstance(ends, list) else ends

    @abstractmethod
    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        """The output row of a checked row; pieces are emitted as they come."""

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        # One at a time: the text of a row is then the same in any company.
        return [self._alone(row, parameters, lambda _event: None, cancel) for row in rows]

    def stream_answer(
        self, row: dict[str, Any], parameters: dict[str, Any], cancel: Cancel
    ) -> Generator[Event, None, dict[str, Any]]:
        result = yield from follow(lambda emit, cancelled: self._alone(row, parameters, emit, cancelled), cancel)
        return result

    def _alone(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        with self.lock:
            return self.write(row, parameters, emit, cancel)

    def continue_from(
        self, tokens: list[int], parameters: dict[str, Any], emit: Emit, cancel: Cancel, *, continues: bool
    ) -> "Written":
        """Write on from a prompt's tokens, which with `max_new_tokens` fit into the window."""
        from tasks.engines.decoding import Reader, write_text

        prompt = torch.tensor([tokens], device=self.model.device)
        return write_text(
            self.model,
            {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)},
            Reader(self.tokenizer, stop_strings(parameters["stop"]), continues=continues),
            emit,
            cancel,
            parameters,
            max_new_tokens=parameters["max_new_tokens"],
            repetition_penalty=parameters["repetition_penalty"],
        )

    @property
    def longest(self) -> int:
        """The most tokens to write: the window less one of the prompt."""
        return self.window - 1

    def room(self, parameters: dict[str, Any]) -> int:
        """How many tokens of a prompt the window has room for. Raises TaskInputError if the text to write fills it."""
        most = self.longest
        if parameters["max_new_tokens"] > most:
            given = parameters["max_new_tokens"]
            raise TaskInputError(f"max_new_tokens is {given}; valid: a whole number from 1 to {most} for this model")
        return self.window - parameters["max_new_tokens"]
