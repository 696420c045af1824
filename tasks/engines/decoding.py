"""How a model writes text: seeded sampling, pieces as they come, stop strings, cancellation between tokens."""

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tasks.base import Cancel
from tasks.engines.language_model import COLDEST, Written
from tasks.engines.streaming import Emit
from tasks.texts import UNFINISHED


class Draw(LogitsProcessor):
    """Sampling with a generator of its own, so that no other call changes what a seed gives.

    `generate` draws from torch's global generator. This leaves only the drawn token possible, so that `generate`
    without sampling takes it: the same tokens as `generate(do_sample=True)` right after `torch.manual_seed(seed)`.
    """

    def __init__(self, parameters: dict[str, Any], device: torch.device) -> None:
        self.warpers = LogitsProcessorList()
        if parameters["temperature"] != 1:
            self.warpers.append(TemperatureLogitsWarper(parameters["temperature"]))
        if parameters["top_k"]:
            self.warpers.append(TopKLogitsWarper(parameters["top_k"]))
        if parameters["top_p"] < 1:
            self.warpers.append(TopPLogitsWarper(parameters["top_p"]))
        self.generator = torch.Generator(device).manual_seed(parameters["seed"])

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores `(1, vocabulary)` with all but one token at minus infinity."""
        probabilities = self.warpers(input_ids, scores).softmax(dim=-1)
        drawn = torch.multinomial(probabilities, num_samples=1, generator=self.generator)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)


class Reader:
    """Tokens, one after the other, to pieces of text that never cut a character and never show a stop string.

    A few tokens back are decoded again with each new one, because decoders treat the beginning of a text in their own
    ways; what is known of it is then cut off.
    """

    def __init__(self, tokenizer: Any, stops: tuple[str, ...] = (), *, continues: bool = False) -> None:
        """Args: stops: texts at which to end; continues: the text continues another, so a first space counts."""
        self.tokenizer = tokenizer
        self.stops = stops
        self.stopped = False
        self.tokens: list[int] = tokenizer.encode("a", add_special_tokens=False) if continues else []
        self.start, self.read = 0, len(self.tokens)
        self.known = self._decode(self.read)
        self.held = ""

    def feed(self, token: int) -> str:
        """The text that is certain now, perhaps none."""
        self.tokens.append(token)
        text = self._decode(len(self.tokens))
        if len(text) <= len(self.known) or text.endswith(UNFINISHED):
            return ""
        new = text[len(self.known) :]
        self.start, self.read = self.read, len(self.tokens)
        self.known = self._decode(self.read)
        return self._before_stop(new)

    def finish(self) -> str:
        """The text that was held back, now that nothing follows."""
        if self.stopped:
            return ""
        text = self._before_stop(self._decode(len(self.tokens))[len(self.known) :])
        return text if self.stopped else text + self.held

    def _decode(self, end: int) -> str:
        return self.tokenizer.decode(
            self.tokens[self.start : end], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _before_stop(self, new: str) -> str:
        """What can be shown of the text held back and a new piece: not the beginning of a stop string."""
        text = self.held + new
        places = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped = True
            return text[: min(places)]
        held = max((n for stop in self.stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        self.held = text[len(text) - held :]
        return text[: len(text) - held]


class _Watch(StoppingCriteria):
    """Reads each new token the moment it is there, and ends the generation at a stop string or when cancelled.

    (A streamer would get the token only after the decision whether to continue.)
    """

    def __init__(self, reader: Reader, emit: Callable[[str], None], cancel: Cancel, end_tokens: set[int]) -> None:
        self.reader, self.emit, self.cancel, self.end_tokens = reader, emit, cancel, end_tokens
        self.tokens = 0
        self.finish_reason = "length"

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        if self.finish_reason == "length":  # on some devices one step follows after the last
            token = int(input_ids[0, -1])
            if token in self.end_tokens:
                self.finish_reason = "stop"
            else:
                self.tokens += 1
                self.emit(self.reader.feed(token))
                if self.reader.stopped:
                    self.finish_reason = "stop"
                elif self.cancel():
                    self.finish_reason = "cancelled"
        return torch.full((len(input_ids),), self.finish_reason != "length", device=input_ids.device)


def write_text(
    model: Any,
    inputs: dict[str, torch.Tensor],
    reader: Reader,
    emit: Emit,
    cancel: Cancel,
    sampling: dict[str, Any] | None = None,
    **options: Any,
) -> Written:
    """Let a model write on from one tokenized text, a token at a time, and emit the pieces.

    Args:
        inputs: `input_ids` and `attention_mask`, int64 `(1, length)`.
        sampling: values of the parameters `sampling`; None takes the most probable token.
        options: of `generate`; what they leave out the model's own generation config says.
    """
    pieces: list[str] = []

    def show(piece: str) -> None:
        if piece:
            pieces.append(piece)
            emit({"piece": piece})

    ends = model.generation_config.eos_token_id
    watch = _Watch(reader, show, cancel, set(ends if isinstance(ends, list) else [ends]))
    draws = sampling is not None and sampling["temperature"] >= COLDEST
    started = time.perf_counter()
    if cancel():
        return Written("", 0, 0.0, "cancelled")
    model.generate(
        **inputs,
        do_sample=False,
        num_beams=1,
        logits_processor=LogitsProcessorList([Draw(sampling, model.device)] if sampling and draws else []),
        stopping_criteria=StoppingCriteriaList([watch]),
        **options,
    )
    show(reader.finish())
    reason = "stop" if reader.stopped else watch.finish_reason
    return Written("".join(pieces), watch.tokens, time.perf_counter() - started, reason)
