"""Questions whose answer stands in a text: SQuAD articles, and the explicit questions of FairytaleQA."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.config import UserError
from experiments.starters.corpora import held_out, text_file, text_folder
from tasks.json_files import read_json

SQUAD, FAIRYTALES = "squad", "fairytaleqa"
SQUAD_FILE = "squad-40-articles.json"
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
FAIRYTALE_PARTS = {"train": "train", "val": "val", "test": "test"}  # as their authors divided the tales
LONGEST_ANSWER = 20  # words; the task looks for answers of up to 30 tokens
PUNCTUATION = " \t\n.,;:!?\"'“”‘’"


@dataclass(frozen=True)
class Question:
    """A question about a context, with the answers that people gave; `group` is the article or tale."""

    text: str
    context: str
    answers: tuple[str, ...]
    source: str
    group: str

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


@dataclass(frozen=True)
class Questions:
    """Questions by use. Every question for training and validation has its answer in its context."""

    train: tuple[Question, ...]
    val: tuple[Question, ...]
    test: tuple[Question, ...]


def read_questions(data_dir: str | Path) -> Questions:
    """The questions of `text/squad` and `text/fairytaleqa`. Raises UserError for data that are missing or damaged."""
    parts: dict[str, list[Question]] = {"train": [], "val": [], "test": []}
    for question in _squad(text_file(data_dir, SQUAD, SQUAD_FILE)):
        part = "test" if question.group in TEST_TITLES else "val" if question.group in VAL_TITLES else "train"
        parts[part].append(question)
    folder = text_folder(data_dir, FAIRYTALES) / "data-by-train-split"
    for part, name in FAIRYTALE_PARTS.items():
        parts[part] += _fairytales(folder, name)
    train, val = (tuple(question for question in parts[part] if question.spans) for part in ("train", "val"))
    return Questions(train, val, tuple(parts["test"]))


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
    share = count / max(1, len(questions))
    return tuple(question for question in questions if held_out(question.text, share, "sample"))
