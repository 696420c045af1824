"""What the tasks that write text share: their parameters, and that they answer in pieces."""

from abc import abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tasks.base import Cancel, Parameter, TaskInputError
from tasks.engines.language_model import open_language_model
from tasks.engines.pretrained import PretrainedTask
from tasks.engines.streaming import Emit, Event, follow
from tasks.hub.source import runs_on_llama


def sampling(max_new_tokens: int, temperature: float = 0.7) -> tuple[Parameter, ...]:
    """The parameters of tasks that write on from a text, with the default length."""
    return (
        Parameter("max_new_tokens", int, max_new_tokens, "most tokens to write", 1, 4096),
        Parameter(
            "temperature", float, temperature, "higher surprises more; 0 always takes the most probable token", 0, 5
        ),
        Parameter("top_p", float, 0.95, "draw among the likeliest tokens that together have this probability", 0, 1),
        Parameter("top_k", int, 50, "draw among so many of the likeliest tokens; 0 among all", 0, 1000),
        Parameter("repetition_penalty", float, 1.0, "above 1 avoids tokens that were there before", 0.5, 2),
        Parameter("seed", int, 0, "the same seed gives the same text", 0, 2**32 - 1),
        Parameter("stop", str, "", r"end before this text; several: one a line; \n stands for a line break", 0, 1000),
    )


class WritingTask(PretrainedTask):
    """A task whose model writes text. A subclass says how in `write`; asked for a stream, it comes in pieces."""

    wide_range = True

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


class LanguageTask(PretrainedTask):
    """A task of a language model, which either engine runs."""

    @classmethod
    def needs(cls, folder: Path) -> tuple[str, ...]:
        return ("xllamacpp", "psutil") if runs_on_llama(folder) else cls.requirements

    def load(self) -> None:
        self.engine = open_language_model(self.folder, self.device)
        self.window = self.engine.window

    def memory_bytes(self) -> int:
        return self.engine.memory_bytes() if hasattr(self, "engine") else 0

    def room(self, parameters: dict[str, Any]) -> int:
        """How many tokens of a prompt the window has room for. Raises TaskInputError if the text to write fills it."""
        most = self.window - 1
        if parameters["max_new_tokens"] > most:
            given = parameters["max_new_tokens"]
            raise TaskInputError(f"max_new_tokens is {given}; valid: a whole number from 1 to {most} for this model")
        return self.window - parameters["max_new_tokens"]
