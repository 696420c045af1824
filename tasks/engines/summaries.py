"""Summaries of texts of any length: the pipeline that transformers 5 no longer has."""

import time
from typing import Any

import torch
from transformers import Pipeline, StoppingCriteria, StoppingCriteriaList

from tasks.base import Cancel, TaskInputError
from tasks.engines.decoding import Reader, write_text
from tasks.engines.language_model import Written
from tasks.engines.streaming import Emit, Event
from tasks.segmentation import divide

MAX_PARTS = 64


class Summaries(Pipeline):
    """A summary by an encoder-decoder. What is longer than its window is summarized part by part, and joined."""

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {name: parameters.pop(name) for name in ("window", "prefix") if name in parameters}
        return preprocess, parameters, {}

    def preprocess(self, input_: str, window: int, prefix: str = "") -> list[dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The tokens of each part of the text, behind the prefix that the model was trained with."""
        tokenizer: Any = self.tokenizer
        room = window - len(tokenizer(prefix)["input_ids"])

        texts = [part for part in parts_of(input_, room, tokenizer) if part.strip()]
        parts = [tokenizer(prefix + text, truncation=True, max_length=window) for text in texts]
        return [{name: torch.tensor([part[name]]) for name in ("input_ids", "attention_mask")} for part in parts]

    def _forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_tensors: list[dict[str, Any]], emit: Emit, cancel: Cancel, num_beams: int, **options: Any
    ) -> dict[str, Any]:
        joined, written = _Joined(emit), []
        for part in input_tensors:
            joined.begin_part()
            if num_beams == 1:
                written.append(write_text(self.model, part, Reader(self.tokenizer), joined, cancel, **options))
            else:
                written.append(self._beams(part, joined, cancel, num_beams=num_beams, **options))
            if written[-1].finish_reason == "cancelled":
                break
        return {"summary": joined.text, "written": written, "parts": input_tensors}

    def _beams(self, part: dict[str, Any], emit: Emit, cancel: Cancel, **options: Any) -> Written:
        """One part by beam search, whose text is known only at the end."""
        tokenizer: Any = self.tokenizer
        model: Any = self.model
        started = time.perf_counter()
        if cancel():
            return Written("", 0, 0.0, "cancelled")
        halt = _Halt(cancel)
        tokens = model.generate(**part, do_sample=False, stopping_criteria=StoppingCriteriaList([halt]), **options)[0]
        text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        emit({"piece": text})
        # The first token only tells the decoder to start.
        reason = "cancelled" if halt.halted else "length" if len(tokens) > options["max_new_tokens"] else "stop"
        special = set(tokenizer.all_special_ids)
        count = sum(token not in special for token in tokens.tolist())
        return Written(text, count, time.perf_counter() - started, reason)

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`summary` and what it took."""
        written, parts = model_outputs["written"], model_outputs["parts"]
        reasons = [part.finish_reason for part in written]
        reason = next((reason for reason in ("cancelled", "length") if reason in reasons), "stop")
        tokens, seconds = sum(part.tokens for part in written), sum(part.seconds for part in written)
        return {
            "summary": model_outputs["summary"],
            **Written(model_outputs["summary"], tokens, seconds, reason).facts(),
            "prompt_tokens": sum(part["input_ids"].shape[-1] for part in parts),
            "chunks": len(parts),
        }


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
