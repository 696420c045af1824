"""Questions and parts of their contexts as a network reads them in training: short windows, drawn anew every epoch."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from experiments.starters.encoders.batches import Item
from experiments.starters.encoders.squad import Question

# Tokens of a window, drawn evenly. Longer ones take longer, and the answer mostly lies near what the question says.
SHORTEST, LONGEST = 72, 176
# How often a window shows a part of the article without an answer, to learn to say so.
NOTHING = 0.1
LONGEST_QUESTION = 40


@dataclass(frozen=True)
class Encoded:
    """A question in tokens: `answers` are first and last tokens of the context that has the number `own`."""

    asked: Question
    question: list[int]
    own: int
    answers: list[tuple[int, int]]


class Windows:
    """Draws the training windows of questions; those of an epoch are a function of (seed, epoch)."""

    def __init__(self, questions: Sequence[Question], tokenizer: Any, seed: int) -> None:
        self.seed = seed
        self.begin, self.end = tokenizer.cls_token_id, tokenizer.sep_token_id
        places = {context: place for place, context in enumerate(dict.fromkeys(one.context for one in questions))}
        read = tokenizer(list(places), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        self.texts, self.contexts = list(places), read["input_ids"]
        groups: dict[str, dict[int, None]] = {}
        for question in questions:
            groups.setdefault(question.group, {})[places[question.context]] = None
        self.groups = {group: list(members) for group, members in groups.items()}
        asked = tokenizer([one.text for one in questions], add_special_tokens=False, verbose=False)["input_ids"]
        self.questions = []
        for question, tokens in zip(questions, asked, strict=True):
            own = places[question.context]
            answers = [token_span(read["offset_mapping"][own], *span) for span in question.spans]
            self.questions.append(Encoded(question, tokens[:LONGEST_QUESTION], own, answers))

    def __len__(self) -> int:
        return len(self.questions)

    def epoch(self, number: int) -> list[Item]:
        """One window of each question."""
        generator = random.Random(self.seed * 1_000_003 + number)
        return [self._draw(question, generator) for question in self.questions]

    def _draw(self, question: Encoded, generator: random.Random) -> Item:
        room = generator.randint(SHORTEST, LONGEST) - len(question.question) - 3
        other = self._other(question, generator) if generator.random() < NOTHING else None
        if other is not None:
            context, answers = self.contexts[other], []
            start = generator.randint(0, max(0, len(context) - room))
        else:
            context, answers = self.contexts[question.own], question.answers
            first, last = generator.choice(answers)
            lowest, highest = max(0, last + 1 - room), min(first, max(0, len(context) - room))
            start = generator.randint(min(lowest, highest), highest)
        part = context[start : start + room]
        before = len(question.question) + 2
        tokens = [self.begin, *question.question, self.end, *part, self.end]
        target = torch.zeros(2, len(tokens))
        for first, last in answers:
            if start <= first and last < start + len(part):
                target[0, before + first - start] = target[1, before + last - start] = 1
        if not target.any():
            target[:, 0] = 1
        return Item(tokens, [0] * before + [1] * (len(part) + 1), target)

    def _other(self, question: Encoded, generator: random.Random) -> int | None:
        """Another context of the same article, or none if the one drawn has the answer too."""
        other = generator.choice(self.groups[question.asked.group])
        has_it = any(pattern.search(self.texts[other]) for pattern in question.asked.patterns)
        return None if has_it else other


def token_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first and last token that the characters from `start` to `end`, words of the text, lie in."""
    first = bisect_right(offsets, start, key=lambda token: token[1])
    return first, bisect_left(offsets, end, key=lambda token: token[0]) - 1
