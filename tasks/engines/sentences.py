"""Summaries made of a text's own sentences: an encoder says how much each belongs into a summary."""

import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from tasks.base import Cancel
from tasks.engines.language_model import Written
from tasks.engines.streaming import Emit
from tasks.engines.summaries import parts_of
from tasks.segmentation import sentences

SHARE = 0.25  # of the tokens of each part of a text go into its summary


@dataclass
class Extracts:
    """The sentences of a text that say most of it, in the order of the text.

    The model is a token classifier with a single class: the score of a sentence is the mean over its tokens. Of each
    part of the text (one window) the best sentences are taken, until they make up about a quarter of it; one at least.
    """

    model: Any
    tokenizer: Any
    window: int

    @torch.no_grad()
    def __call__(
        self, text: str, emit: Emit, cancel: Cancel, max_new_tokens: int, min_new_tokens: int
    ) -> dict[str, Any]:
        """`summary`, where its sentences stand in the text, and what it took."""
        parts = self.parts(text)
        started = time.perf_counter()
        taken: list[dict[str, Any]] = []
        pieces: list[str] = []
        reason, tokens = "stop", 0
        for part in parts:
            if cancel():
                reason = "cancelled"
                break
            inputs = {name: value.to(self.model.device) for name, value in part["inputs"].items()}
            logits = self.model(**inputs).logits[0, :, 0].float().cpu()
            scores = sentence_scores(logits, part["owners"], len(part["sentences"])).tolist()
            sizes = [len(places) for places in part["tokens"]]
            chosen, short = choose(scores, sizes, max_new_tokens, min_new_tokens)
            reason = "length" if short else reason
            for number, size in sorted(chosen.items()):
                start, end = part["sentences"][number]
                if size < sizes[number]:
                    end, size = cut(part, number, size)
                tokens += size
                pieces.append((" " if pieces else "") + unwrapped(text[start:end]))
                emit({"piece": pieces[-1]})
                taken.append({"start": start, "end": end, "score": scores[number]})
        summary = "".join(pieces)
        return {
            "summary": summary,
            **Written(summary, tokens, time.perf_counter() - started, reason).facts(),
            "prompt_tokens": sum(len(part["owners"]) for part in parts),
            "chunks": len(parts),
            "sentences": taken,
        }

    def parts(self, text: str) -> list[dict[str, Any]]:
        """The text in parts that fit into the window, as `read_part` gives them; those without sentences left out."""
        parts, start = [], 0
        for part in parts_of(text, self.window - self.tokenizer.num_special_tokens_to_add(), self.tokenizer):
            parts.append(read_part(part, start, self.tokenizer))
            start += len(part)
        return [part for part in parts if part["sentences"]]


def unwrapped(sentence: str) -> str:
    """A sentence in one line."""
    return re.sub(r"\s*[\r\n]\s*", " ", sentence)


def read_part(text: str, start: int, tokenizer: Any) -> dict[str, Any]:
    """A part of a text as a model reads it.

    Args: start: where the part stands in the whole text.

    Returns `inputs`, tensors `(1, length)`; `sentences`, their first and last characters in the whole text, without
    white space around them; `tokens`, the places of each one's tokens; `owners`, int64 `(length,)`, the sentence of
    each token, -1 for special ones; `offsets`, characters of each token in the whole text. Sentences without tokens are
    left out.
    """
    encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
    raw = sentences(text)
    begins = [0, *accumulate(map(len, raw))][:-1]
    places: list[list[int]] = [[] for _ in raw]
    for place, (first, last) in enumerate(encoded["offset_mapping"]):
        if last > first:
            places[bisect_right(begins, first) - 1].append(place)
    kept = [number for number, own in enumerate(places) if own]
    owners = torch.full((len(encoded["input_ids"]),), -1)
    for sentence, number in enumerate(kept):
        owners[places[number]] = sentence
    spans = []
    for number in kept:
        begin, sentence = start + begins[number], raw[number]
        spans.append((begin + len(sentence) - len(sentence.lstrip()), begin + len(sentence.rstrip())))
    inputs = {name: torch.tensor([encoded[name]]) for name in tokenizer.model_input_names if name in encoded}
    offsets = [(start + first, start + last) for first, last in encoded["offset_mapping"]]
    return {
        "inputs": inputs,
        "sentences": spans,
        "tokens": [places[number] for number in kept],
        "owners": owners,
        "offsets": offsets,
    }


def sentence_scores(logits: torch.Tensor, owners: torch.Tensor, count: int) -> torch.Tensor:
    """How much of the whole each sentence is worth, `(count,)`: a softmax over the mean of its tokens' logits.

    Args: logits `(length,)`; owners `(length,)`, the sentence of each token, -1 for none.
    """
    own = owners >= 0
    sums = torch.zeros(count).index_add(0, owners[own], logits[own])
    sizes = torch.zeros(count).index_add(0, owners[own], torch.ones(int(own.sum())))
    return (sums / sizes.clamp_min(1)).softmax(dim=0)


def choose(scores: Sequence[float], sizes: Sequence[int], most: int, least: int) -> tuple[dict[int, int], bool]:
    """Which sentences are taken, with how many of their tokens, and whether `most` left any of them out or cut it.

    Taken are the best ones as long as they bring the summary nearer to `SHARE` of all tokens, or to `least`. One that
    does not fit into `most` is cut only if nothing else would make up `least`, or anything at all.
    """
    chosen: dict[int, int] = {}
    aim, total = SHARE * sum(sizes), 0
    for number in sorted(range(len(scores)), key=lambda number: -scores[number]):
        size = sizes[number]
        if chosen and total >= least and total + size / 2 > aim:
            break
        if total + size > most:
            if not chosen or total < least:
                chosen[number] = most - total
            return {number: size for number, size in chosen.items() if size}, True
        chosen[number] = size
        total += size
    return chosen, False


def cut(part: dict[str, Any], number: int, size: int) -> tuple[int, int]:
    """Where a sentence of a part ends if it may have `size` tokens only, and how many it then has: whole words, if the
    first one fits."""
    places, offsets = part["tokens"][number], part["offsets"]
    for fewer in range(size, 0, -1):
        end, following = offsets[places[fewer - 1]][1], offsets[places[fewer]][0]
        if following > end:
            return end, fewer
    return offsets[places[size - 1]][1], size
