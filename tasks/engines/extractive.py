"""Answers cut out of a text: the question answering pipeline that transformers 5 no longer has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.base import Cancel, TaskInputError, each_row, never, stop_if

BATCH_SIZE = 16
MAX_WINDOWS = 512
OVERLAP = 128  # tokens that neighboring windows share
MAX_ANSWER_TOKENS = 30


@dataclass
class ExtractiveAnswers:
    """Spans of a context that answer a question, or "no answer". Devlin et al., "BERT", 2018, section 4.3.

    A long context is read in overlapping windows; each start of a span counts in the one window that shows most around
    it. The score of a span (i, j) is exp(start_i + end_j), divided by the sum of those of all spans of all windows and
    of "no answer", which is the first token's score in the window where it is lowest.
    """

    model: Any
    tokenizer: Any
    window: int

    def __call__(self, rows: Sequence[dict[str, str]], top_k: int = 1, cancel: Cancel = never) -> list[dict[str, Any]]:
        """The answers of rows with `question` and `context`, whose windows are read in the same batches.

        `answers` are the best ones that do not overlap, with `answer`, `score`, `start`, `end`; the best one first.
        """
        texts = each_row(rows, self.divide)
        windows = [window for text in texts for window in text["windows"]]
        # Windows of like length side by side need the least padding.
        order = sorted(range(len(windows)), key=lambda place: len(windows[place].ids))
        scores = dict(zip(order, self.read([windows[place] for place in order], cancel), strict=True))
        results, first = [], 0
        for text in texts:
            own = [scores[place] for place in range(first, first + len(text["windows"]))]
            first += len(own)
            results.append(self.best({**text, "scores": own}, top_k, cancel))
        return results

    def divide(self, row: dict[str, str]) -> dict[str, Any]:
        """A row's windows. Raises TaskInputError for a question that leaves too little room."""
        window = self.window
        asked = len(self.tokenizer(row["question"], verbose=False)["input_ids"])
        if asked > window // 2:
            raise TaskInputError(f"question has {asked} tokens; valid: at most {window // 2} for this model")
        overlap = min(OVERLAP, (window - asked) // 3)
        encoded = self.tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=window,
            stride=overlap,
            return_overflowing_tokens=True,
        )
        if len(encoded.encodings) > MAX_WINDOWS:
            most = MAX_WINDOWS * (window - asked - overlap)
            raise TaskInputError(f"context has more than {most} tokens; valid: at most {most}")
        tokens = sum(len(window.ids) for window in encoded.encodings)
        return {"windows": encoded.encodings, "overlap": overlap, "context": row["context"], "tokens": tokens}

    @torch.no_grad()
    def read(self, windows: Sequence[Any], cancel: Cancel = never) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each window the logits of its tokens to begin an answer, and to end it."""
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        wanted = {name: field for name, field in fields.items() if name in self.tokenizer.model_input_names}
        scores: list[tuple[torch.Tensor, torch.Tensor]] = []
        for first in range(0, len(windows), BATCH_SIZE):
            stop_if(cancel)
            batch = windows[first : first + BATCH_SIZE]
            rows = {name: [getattr(window, field) for window in batch] for name, field in wanted.items()}
            output = self.model(**self.tokenizer.pad(rows, return_tensors="pt").to(self.model.device))
            starts, ends = output.start_logits.float().cpu(), output.end_logits.float().cpu()
            scores += zip(starts, ends, strict=True)
        return scores

    def best(self, read: dict[str, Any], top_k: int, cancel: Cancel) -> dict[str, Any]:
        """The best answers of a text whose windows have `scores`."""
        windows, context = read["windows"], read["context"]
        spans = []
        for index in range(len(windows)):
            stop_if(cancel)
            spans.append(_Spans.of(read, index))
        logits = torch.cat([span.logits for span in spans])
        nothing = math.inf if self.tokenizer.cls_token_id is not None else -math.inf
        for window, (start, end) in zip(windows, read["scores"], strict=True):
            if nothing > -math.inf:
                first = window.ids.index(self.tokenizer.cls_token_id)
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
        return {"answers": best_first, "windows": len(windows), "tokens": read["tokens"]}


@dataclass(frozen=True)
class _Spans:
    """All possible answers that start in a window's own part: logit, first and last character `(spans,)`."""

    logits: torch.Tensor
    begins: torch.Tensor
    ends: torch.Tensor

    @classmethod
    def of(cls, read: dict[str, Any], index: int) -> "_Spans":
        window, overlap = read["windows"][index], read["overlap"]
        places = [place for place, sequence in enumerate(window.sequence_ids) if sequence == 1]
        own_from = 0 if index == 0 else overlap // 2
        own_to = len(places) - (0 if index == len(read["windows"]) - 1 else overlap - overlap // 2)
        firsts = torch.arange(own_from, own_to)[:, None]
        lasts = firsts + torch.arange(MAX_ANSWER_TOKENS)
        inside = lasts < len(places)
        lasts = lasts.clamp_max(len(places) - 1)
        offsets = torch.tensor([window.offsets[place] for place in places]).reshape(-1, 2)
        start, end = (side[places] for side in read["scores"][index])
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
