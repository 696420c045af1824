"""Answers cut out of a text: the question answering pipeline that transformers 5 no longer has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Pipeline

from tasks.base import Cancel, TaskInputError, each_row, never, stop_if

BATCH_SIZE = 16
MAX_WINDOWS = 512
OVERLAP = 128  # tokens that neighboring windows share
MAX_ANSWER_TOKENS = 30


class ExtractiveAnswers(Pipeline):
    """Spans of a context that answer a question, or "no answer". Devlin et al., "BERT", 2018, section 4.3.

    A long context is read in overlapping windows; each start of a span counts in the one window that shows most around
    it. The score of a span (i, j) is exp(start_i + end_j), divided by the sum of those of all spans of all windows and
    of "no answer", which is the first token's score in the window where it is lowest.
    """

    def several(self, rows: Sequence[dict[str, str]], top_k: int, cancel: Cancel) -> list[dict[str, Any]]:
        """The answers of several rows with `question` and `context`, whose windows are read in the same batches."""
        prepared = each_row(rows, lambda row: self.preprocess(row, **self._preprocess_params))
        windows = [window for one in prepared for window in one["windows"]]
        # Windows of like length side by side need the least padding.
        order = sorted(range(len(windows)), key=lambda place: len(windows[place].ids))
        read: Any = self.forward({"windows": [windows[place] for place in order]}, cancel=cancel)
        scores = dict(zip(order, zip(read["starts"], read["ends"], strict=True), strict=True))
        results, first = [], 0
        for one in prepared:
            own = [scores[place] for place in range(first, first + len(one["windows"]))]
            first += len(own)
            starts, ends = ([pair[side] for pair in own] for side in (0, 1))
            results.append(self.postprocess({**one, "starts": starts, "ends": ends}, top_k, cancel))
        return results

    def _sanitize_parameters(self, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        def given(*names: str) -> dict[str, Any]:
            return {name: parameters[name] for name in names if name in parameters}

        return given("window"), given("cancel"), given("top_k", "cancel")

    def preprocess(self, input_: dict[str, str], window: int) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Windows of at most `window` tokens. Raises TaskInputError for a question that leaves too little room."""
        tokenizer: Any = self.tokenizer
        asked = len(tokenizer(input_["question"], verbose=False)["input_ids"])
        if asked > window // 2:
            raise TaskInputError(f"question has {asked} tokens; valid: at most {window // 2} for this model")
        overlap = min(OVERLAP, (window - asked) // 3)
        encoded = tokenizer(
            input_["question"],
            input_["context"],
            truncation="only_second",
            max_length=window,
            stride=overlap,
            return_overflowing_tokens=True,
        )
        if len(encoded.encodings) > MAX_WINDOWS:
            most = MAX_WINDOWS * (window - asked - overlap)
            raise TaskInputError(f"context has more than {most} tokens; valid: at most {most}")
        tokens = sum(len(window.ids) for window in encoded.encodings)
        return {"windows": encoded.encodings, "overlap": overlap, "context": input_["context"], "tokens": tokens}

    def _forward(self, input_tensors: dict[str, Any], cancel: Cancel = never, **_: Any) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tokenizer: Any = self.tokenizer
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        wanted = {name: field for name, field in fields.items() if name in tokenizer.model_input_names}
        starts, ends = [], []
        for first in range(0, len(input_tensors["windows"]), BATCH_SIZE):
            stop_if(cancel)
            windows = input_tensors["windows"][first : first + BATCH_SIZE]
            rows = {name: [getattr(window, field) for window in windows] for name, field in wanted.items()}
            output = self.model(**tokenizer.pad(rows, return_tensors="pt").to(self.device))
            starts += output.start_logits.float().cpu()
            ends += output.end_logits.float().cpu()
        return {**input_tensors, "starts": starts, "ends": ends}

    def postprocess(self, model_outputs: dict[str, Any], top_k: int = 1, cancel: Cancel = never) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`answers`: the best ones that do not overlap, with `answer`, `score`, `start`, `end`; the best one first."""
        windows, context = model_outputs["windows"], model_outputs["context"]
        spans = []
        for index in range(len(windows)):
            stop_if(cancel)
            spans.append(_Spans.of(model_outputs, index))
        logits = torch.cat([span.logits for span in spans])
        tokenizer: Any = self.tokenizer
        nothing = math.inf if tokenizer.cls_token_id is not None else -math.inf
        for window, start, end in zip(windows, model_outputs["starts"], model_outputs["ends"], strict=True):
            if nothing > -math.inf:
                first = window.ids.index(tokenizer.cls_token_id)
                nothing = min(nothing, float(start[first] + end[first]))
        total = float(torch.cat([logits, torch.tensor([nothing])]).logsumexp(dim=0))
        answers = [{"answer": "", "score": math.exp(nothing - total), "start": 0, "end": 0}]
        begins, ends = (torch.cat([getattr(span, side) for span in spans]) for side in ("begins", "ends"))
        owner = torch.cat([torch.full((len(span.logits),), index) for index, span in enumerate(spans)])
        while len(answers) <= top_k and len(logits) and float(logits.max()) > -math.inf:
            best = int(logits.argmax())
            start, end = whole_words(windows[int(owner[best])], int(begins[best]), int(ends[best]), context)
            score = math.exp(float(logits[best]) - total)
            answers.append({"answer": context[start:end], "score": score, "start": start, "end": end})
            overlapping = (begins < end) & (ends > start)
            overlapping[best] = True
            logits = logits.masked_fill(overlapping, -math.inf)
        best_first = sorted(answers, key=lambda answer: -answer["score"])[:top_k]
        return {"answers": best_first, "windows": len(windows), "tokens": model_outputs["tokens"]}


@dataclass(frozen=True)
class _Spans:
    """All possible answers that start in a window's own part: logit, first and last character `(spans,)`."""

    logits: torch.Tensor
    begins: torch.Tensor
    ends: torch.Tensor

    @classmethod
    def of(cls, outputs: dict[str, Any], index: int) -> "_Spans":
        window, overlap = outputs["windows"][index], outputs["overlap"]
        places = [place for place, sequence in enumerate(window.sequence_ids) if sequence == 1]
        own_from = 0 if index == 0 else overlap // 2
        own_to = len(places) - (0 if index == len(outputs["windows"]) - 1 else overlap - overlap // 2)
        firsts = torch.arange(own_from, own_to)[:, None]
        lasts = firsts + torch.arange(MAX_ANSWER_TOKENS)
        inside = lasts < len(places)
        lasts = lasts.clamp_max(len(places) - 1)
        offsets = torch.tensor([window.offsets[place] for place in places]).reshape(-1, 2)
        start, end = (outputs[name][index][places] for name in ("starts", "ends"))
        begins, ends = offsets[:, 0][firsts].expand_as(lasts), offsets[:, 1][lasts]
        possible = inside & (ends > begins)
        return cls((start[firsts] + end[lasts])[possible], begins[possible], ends[possible])


def whole_words(window: Any, begin: int, end: int, context: str) -> tuple[int, int]:
    """A span of characters widened to the words that it cuts, without the white space around it."""
    for character in (begin, end - 1):
        word = window.char_to_word(character, 1)
        if word is not None:
            first, last = window.word_to_chars(word, 1)
            begin, end = min(begin, first), max(end, last)
    text = context[begin:end]
    return begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())
