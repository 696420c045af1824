"""Task `sentiment-analysis`: how a text feels, or whatever else a text classifier was trained to tell."""

from collections import Counter
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from tasks.base import Cancel, TaskInputError, each_row, naming_part, naming_row, never, stop_if
from tasks.engines.pretrained import PretrainedTask, read_together
from tasks.engines.streaming import Event
from tasks.parameters import Parameters, option
from tasks.words_left_out import left_out, parts_to_leave_out

BATCH_SIZE = 32
MAX_WINDOWS = 512
# An explanation reads a text once for every word of it.
EXPLAINED_AT_ONCE = 16
MAX_EXPLAINED_WINDOWS = 8


class SentimentParameters(Parameters):
    """Of sentiment analysis."""

    explain: bool = option(False, "also show which words moved the score; takes longer")


class SentimentAnalysis(PretrainedTask):
    """Texts to class probabilities, in batches.

    A text longer than the model's window is read in several windows, whose scores are averaged by their lengths.

    Output: `label`, `score` (its probability), `scores` (every class's, highest first), `windows`, `tokens`; asked to
    explain, `words`: for each word or mark (`word`, `start`, `end`: characters of the text) its `weight`, by how much
    the score of `label` falls without it. Of a text with many words some stand together; a single one has none.
    """

    name = "sentiment-analysis"
    auto_class = "AutoModelForSequenceClassification"
    parameters = SentimentParameters
    example = {"text": "The film was a joy from the first minute to the last."}

    def load(self) -> None:
        from transformers import TextClassificationPipeline

        super().load()
        self.pipeline: Any = TextClassificationPipeline(
            model=self.model, tokenizer=self.tokenizer, device=self.model.device, top_k=None
        )

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        if parameters["explain"]:
            return each_row(rows, lambda row: _last(self._explained(row["text"], cancel)))
        return self._answers([row["text"] for row in rows], cancel)

    def in_pieces(self, parameters: Mapping[str, Any]) -> bool:
        return bool(parameters.get("explain"))

    def stream_answer(
        self, row: dict[str, Any], parameters: dict[str, Any], cancel: Cancel
    ) -> Generator[Event, None, dict[str, Any]]:
        """Steps of the explanation, if one is wanted; without one there are no events."""
        if parameters["explain"]:
            return (yield from self._explained(row["text"], cancel))
        return self._answers([row["text"]], cancel)[0]

    def _answers(self, texts: list[str], cancel: Cancel, known: bool = True) -> list[dict[str, Any]]:
        """Args: known: refuse a text of which nothing has a token: the rest of one, without a word, may have none."""
        results: list[dict[str, Any]] = []
        for group in read_together(texts, len):
            stop_if(cancel)
            with self.lock, naming_part(len(results) + 1, len(texts)):
                results += self._classify(group, cancel, known)
        return results

    def _explained(self, text: str, cancel: Cancel) -> Generator[Event, None, dict[str, Any]]:
        """The answer to a text with `words`: those that were read before it was cancelled."""
        [result] = self._answers([text], cancel)
        if result["windows"] > MAX_EXPLAINED_WINDOWS:
            most = MAX_EXPLAINED_WINDOWS * self.window
            raise TaskInputError(
                f"text has {result['tokens']} tokens; valid: at most about {most} for this model where explain is true"
            )
        parts = parts_to_leave_out(text)
        batches = [parts[first : first + EXPLAINED_AT_ONCE] for first in range(0, len(parts), EXPLAINED_AT_ONCE)]
        words: list[dict[str, Any]] = []
        for step, batch in enumerate(batches if len(parts) > 1 else [], 1):
            if cancel():
                break
            without = self._answers([left_out(text, start, end) for start, end in batch], never, known=False)
            words += [
                {
                    "word": text[start:end],
                    "start": start,
                    "end": end,
                    "weight": result["score"] - other["scores"][result["label"]],
                }
                for (start, end), other in zip(batch, without, strict=True)
            ]
            yield {"step": step, "steps": len(batches)}
        return {**result, "words": words}

    def _classify(self, texts: list[str], cancel: Cancel, known: bool) -> list[dict[str, Any]]:
        encoded = self.encode(texts, truncation=True, max_length=self.window, return_overflowing_tokens=True)
        owners = encoded.pop("overflow_to_sample_mapping")
        least = max(1, self.tokenizer.num_special_tokens_to_add() + known)
        for owner, windows in Counter(owners).items():
            with naming_row(owner + 1, len(texts)):
                if windows > MAX_WINDOWS:
                    most = MAX_WINDOWS * self.window
                    raise TaskInputError(f"text has more than {most} tokens; valid: at most {most}")
                if len(encoded["input_ids"][owners.index(owner)]) < least:
                    raise TaskInputError("text has nothing in it that this model knows; valid: text with letters")
        scores = self._window_scores(encoded, cancel)
        results = []
        for index in range(len(texts)):
            own = [place for place, owner in enumerate(owners) if owner == index]
            lengths = np.array([len(encoded["input_ids"][place]) for place in own])
            mean = np.average(scores[own], axis=0, weights=lengths)
            results.append({**self._describe(mean), "windows": len(own), "tokens": int(lengths.sum())})
        return results

    def _window_scores(self, encoded: Any, cancel: Cancel) -> np.ndarray:
        """Class scores of each window, `(windows, classes)`."""
        lengths = [len(tokens) for tokens in encoded["input_ids"]]
        # Windows of like length side by side need the least padding; a tokenizer without padding takes one at a time.
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = BATCH_SIZE if self.tokenizer.pad_token_id is not None else 1
        scores: dict[int, list[float]] = {}
        for start in range(0, len(order), size):
            stop_if(cancel)
            places = order[start : start + size]
            batch = {name: [values[place] for place in places] for name, values in encoded.items()}
            tensors = self.tokenizer.pad(batch, padding=size > 1, return_tensors="pt")
            logits = self.pipeline.forward(dict(tensors))["logits"]
            scores.update(zip(places, map(self._probabilities, logits), strict=True))
        return np.array([scores[place] for place in range(len(lengths))])

    def _probabilities(self, logits: Any) -> list[float]:
        """Scores by class from one row of logits, as the model's config wants them (softmax, or a sigmoid each)."""
        described = self.pipeline.postprocess({"logits": logits[None]}, top_k=None)
        return [entry["score"] for entry in described]

    def _describe(self, scores: np.ndarray) -> dict[str, Any]:
        names = self.model.config.id2label
        order = np.argsort(-scores, kind="stable").tolist()
        label = names[order[0]]
        return {
            "label": label,
            "score": float(scores[order[0]]),
            "scores": {names[index]: float(scores[index]) for index in order},
        }


def _last(events: Generator[Event, None, dict[str, Any]]) -> dict[str, Any]:
    """What a generator returns."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value
