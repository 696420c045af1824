"""Questions whose answer stands in a text: SQuAD articles, and the explicit questions of FairytaleQA.

A network reads each in training as a short window of its context, drawn anew every epoch.
"""

import csv
import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.config import UserError
from experiments.starters.corpora import Corpus, held_out, text_file
from experiments.text.batches import EncodedText
from tasks.json_files import read_json

SQUAD, FAIRYTALES = "squad", "fairytaleqa"
# The articles with the lowest sha256 of their titles: six for testing, three for validation.
TEST_TITLES = (
    "Private_school",
    "Jacksonville,_Florida",
    "Newcastle_upon_Tyne",
    "1973_oil_crisis",
    "Amazon_rainforest",
    "Sky_(United_Kingdom)",
)
VAL_TITLES = ("Victoria_(Australia)", "Ctenophora", "Packet_switching")
LONGEST_ANSWER = 20  # words; the task looks for answers of up to 30 tokens
PUNCTUATION = " \t\n.,;:!?\"'“”‘’"
# Tokens of a window, drawn evenly. Longer ones take longer, and the answer mostly lies near what the question says.
SHORTEST, LONGEST = 72, 176
# How often a window shows a part of the article without an answer, to learn to say so.
NOTHING = 0.1
LONGEST_QUESTION = 40


@dataclass(frozen=True)
class Question:
    """A question about a context, with the answers that people gave; `group` is the article or tale."""

    text: str
    context: str
    answers: tuple[str, ...]
    source: str
    group: str

    @property
    def key(self) -> tuple[str, ...]:
        return (self.text, self.context, *self.answers)

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where in the context answers stand, as characters from and to: every place of each of them, as whole words.

        Case, white space and marks around an answer do not count. Very long answers have no place.
        """
        return sorted({match.span() for pattern in self.patterns for match in pattern.finditer(self.context)})

    @cached_property
    def patterns(self) -> list[re.Pattern[str]]:
        """What finds the answers in a text."""
        words = [answer.strip(PUNCTUATION).split() for answer in self.answers]
        texts = [
            r"(?<!\w)" + r"\s+".join(map(re.escape, some)) + r"(?!\w)"
            for some in words
            if 0 < len(some) <= LONGEST_ANSWER
        ]
        return [re.compile(text, re.IGNORECASE) for text in texts]


def read_questions(data_dir: str | Path) -> Corpus:
    """The questions of `text/squad` and `text/fairytaleqa`; the tales are divided as by their authors.

    Every question for training and validation has its answer in its context. Raises UserError for data that are missing
    or damaged.
    """
    parts: dict[str, list[Question]] = {"train": [], "val": [], "test": []}
    for question in _squad(text_file(data_dir, f"{SQUAD}/squad-40-articles.json")):
        part = "test" if question.group in TEST_TITLES else "val" if question.group in VAL_TITLES else "train"
        parts[part].append(question)
    folder = text_file(data_dir, f"{FAIRYTALES}/data-by-train-split")
    for part, questions in parts.items():
        questions += _fairytales(folder, part)
    train, val = (tuple(question for question in parts[part] if question.spans) for part in ("train", "val"))
    return Corpus(train, val, tuple(parts["test"]))


def _squad(path: Path) -> Iterator[Question]:
    try:
        articles: list[dict[str, Any]] = read_json(path)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = tuple(dict.fromkeys(answer["text"] for answer in asked["answers"]))
                    yield Question(asked["question"].strip(), paragraph["context"], answers, SQUAD, article["title"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a file of SQuAD 1.1: {error!r}") from error


def _fairytales(folder: Path, part: str) -> Iterator[Question]:
    """The explicit questions of a part, each with the sections that it is about."""
    for asked_in in sorted((folder / "questions" / part).glob("*-questions.csv")):
        tale = asked_in.name.removesuffix("-questions.csv")
        path = folder / "section-stories" / part / f"{tale}-story.csv"
        try:
            sections = {row["section"].strip(): row["text"] for row in _rows(path)}
            for row in _rows(asked_in):
                if row["ex-or-im1"] != "explicit":
                    continue
                context = "\n".join(sections[number.strip()] for number in row["cor_section"].split(","))
                # Of both people who answered; other wordings by the same person do not count, as in the paper.
                answers = tuple(dict.fromkeys(row[name].strip() for name in ("answer1", "answer4") if row[name]))
                yield Question(row["question"].strip(), context, answers, FAIRYTALES, tale)
        except (OSError, KeyError) as error:
            raise UserError(f"{asked_in} and {path} are not files of FairytaleQA: {error!r}") from error


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(file)]


def sample(questions: tuple[Question, ...], count: int) -> tuple[Question, ...]:
    """About `count` of the questions, the same ones everywhere."""
    fraction = count / max(1, len(questions))
    return tuple(question for question in questions if held_out(question.text, fraction, "sample"))


class Encoded(NamedTuple):
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

    def epoch(self, number: int) -> list[EncodedText]:
        """One window of each question."""
        generator = random.Random(self.seed * 1_000_003 + number)
        return [self._draw(question, generator) for question in self.questions]

    def _draw(self, question: Encoded, generator: random.Random) -> EncodedText:
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
        return EncodedText(tokens, [0] * before + [1] * (len(part) + 1), target)

    def _other(self, question: Encoded, generator: random.Random) -> int | None:
        """Another context of the same article, or none if the one drawn has the answer too."""
        other = generator.choice(self.groups[question.asked.group])
        has_it = any(pattern.search(self.texts[other]) for pattern in question.asked.patterns)
        return None if has_it else other


def token_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first and last token that the characters from `start` to `end`, words of the text, lie in."""
    first = bisect_right(offsets, start, key=lambda token: token[1])
    return first, bisect_left(offsets, end, key=lambda token: token[0]) - 1
