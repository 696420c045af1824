"""Summaries of texts of any length: the pipeline that transformers 5 no longer has."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from tasks.base import Cancel, TaskInputError
from tasks.engines.decoding import Reader, write_text
from tasks.engines.language_model import Written
from tasks.engines.streaming import Emit, Event
from tasks.segmentation import divide

MAX_PARTS = 64
INPUTS = ("input_ids", "attention_mask")


@dataclass
class Summaries:
    """A summary by an encoder-decoder. What is longer than its window is summarized part by part, and joined."""

    model: Any
    tokenizer: Any
    window: int
    prefix: str = ""  # the model was trained with

    @torch.no_grad()
    def __call__(self, text: str, emit: Emit, cancel: Cancel, num_beams: int, **options: Any) -> dict[str, Any]:
        """`summary` and what it took; `options` of `generate`."""
        parts, joined, written = self.parts(text), _Joined(emit), []
        for part in parts:
            joined.begin_part()
            inputs = {name: torch.tensor([part[name]]).to(self.model.device) for name in INPUTS}
            if num_beams == 1:
                written.append(write_text(self.model, inputs, Reader(self.tokenizer), joined, cancel, **options))
            else:
                written.append(self._beams(inputs, joined, cancel, num_beams=num_beams, **options))
            if written[-1].finish_reason == "cancelled":
                break
        reasons = [part.finish_reason for part in written]
        reason = next((reason for reason in ("cancelled", "length") if reason in reasons), "stop")
        tokens, seconds = sum(part.tokens for part in written), sum(part.seconds for part in written)
        return {
            "summary": joined.text,
            **Written(joined.text, tokens, seconds, reason).facts(),
            "prompt_tokens": sum(len(part["input_ids"]) for part in parts),
            "chunks": len(parts),
        }

    def parts(self, text: str) -> list[Mapping[str, list[int]]]:
        """The tokens of each part of a text, behind the prefix."""
        room = self.window - len(self.tokenizer(self.prefix)["input_ids"])
        texts = [part for part in parts_of(text, room, self.tokenizer) if part.strip()]
        return [self.tokenizer(self.prefix + part, truncation=True, max_length=self.window) for part in texts]

    def _beams(self, inputs: dict[str, Any], emit: Emit, cancel: Cancel, **options: Any) -> Written:
        """One part by beam search, whose text is known only at the end."""
        started = time.perf_counter()
        if cancel():
            return Written("", 0, 0.0, "cancelled")
        halt = _Halt(cancel)
        criteria = StoppingCriteriaList([halt])
        tokens = self.model.generate(**inputs, do_sample=False, stopping_criteria=criteria, **options)[0]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        emit({"piece": text})
        # The first token only starts the decoder.
        reason = "cancelled" if halt.halted else "length" if len(tokens) > options["max_new_tokens"] else "stop"
        special = set(self.tokenizer.all_special_ids)
        count = sum(token not in special for token in tokens.tolist())
        return Written(text, count, time.perf_counter() - started, reason)


def parts_of(text: str, room: int, tokenizer: Any) -> list[str]:
    """A text in parts of at most `room` tokens, divided between sentences. Raises TaskInputError for too many."""

    def count(part: str) -> int:
        return len(tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"])

    tokens = count(text)
    if tokens > MAX_PARTS * room:
        raise TaskInputError(f"text has {tokens} tokens; valid: at most {MAX_PARTS * room} for this model")
    return divide(text, room, count)


class _Halt(StoppingCriteria):
    """Ends a beam search when it is cancelled."""

    def __init__(self, cancel: Cancel) -> None:
        self.cancel, self.halted = cancel, False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002
        self.halted = self.halted or self.cancel()
        return torch.full((len(input_ids),), self.halted, device=input_ids.device)


class _Joined:
    """Pieces of the parts' summaries to pieces of one text: one space between parts, no white space around them."""

    def __init__(self, emit: Emit) -> None:
        self.emit, self.text, self.space, self.fresh = emit, "", "", True

    def begin_part(self) -> None:
        self.space, self.fresh = " " if self.text else "", True

    def __call__(self, event: Event) -> None:
        piece = event["piece"].lstrip() if self.fresh else event["piece"]
        if not piece:
            return
        self.fresh = False
        whole = self.space + piece
        shown = whole.rstrip()
        self.space = whole[len(shown) :]  # is shown only before more
        if shown:
            self.text += shown
            self.emit({"piece": shown})
