"""SST-2: sentences of film reviews, positive or negative, and how they would look had a person typed them."""

import re
from dataclasses import dataclass
from pathlib import Path

from experiments.config import UserError
from experiments.starters.corpora import held_out, text_file

FOLDER = "sst2"
LABELS = ("NEGATIVE", "POSITIVE")
VALIDATION = 0.1
# "do n't", "it 's", "it , though", "`` cool ''": how the data write what people write without a space.
JOINED = (
    (re.compile(r"\b(ca|wo|sha) n't\b"), r"\1n't"),
    (re.compile(r" n't\b"), "n't"),
    (re.compile(r" '(s|re|ve|ll|d|m)\b"), r"'\1"),
    (re.compile(r"(?<=s|n) '(?= )"), "'"),
    (re.compile(r"(?<!\S)(``|''|`|')(?!\S)"), '"'),
    (re.compile(r" ([,.!?;:%]+)(?!\S)"), r"\1"),
    (re.compile(r"\blrb "), "("),
    (re.compile(r" rrb\b"), ")"),
)
QUOTED = re.compile(r'"([^"]*)"')
ENDS = (".", "!", "?", '"')


@dataclass(frozen=True)
class Review:
    """A sentence, and the number of its label in `LABELS`."""

    text: str
    label: int


@dataclass(frozen=True)
class Sst2:
    """The sentences by use; `test` is the official development set, whose labels nothing else looks at."""

    train: tuple[Review, ...]
    val: tuple[Review, ...]
    test: tuple[Review, ...]


def read_sst2(data_dir: str | Path) -> Sst2:
    """The data of `text/sst2`; validation is a tenth of the training sentences. Raises UserError."""
    train, test = (_read(text_file(data_dir, FOLDER, name)) for name in ("train.tsv", "dev.tsv"))
    val = tuple(review for review in train if held_out(review.text, VALIDATION, "sst2"))
    chosen = set(val)
    return Sst2(tuple(review for review in train if review not in chosen), val, test)


def _read(path: Path) -> tuple[Review, ...]:
    reviews = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text, tab, label = line.rpartition("\t")
        if not tab or label not in ("0", "1"):
            raise UserError(f"line {number} of {path} is not `sentence<TAB>label` with the label 0 or 1")
        reviews.append(Review(text, int(label)))
    return tuple(reviews)


def natural(text: str) -> str:
    """A sentence of SST-2 as a person types it, but for capitals, which the model does not see: marks and contractions
    joined to their words, and a full stop, which the data lack."""
    for pattern, replacement in JOINED:
        text = pattern.sub(replacement, text)
    text = QUOTED.sub(lambda quoted: f' "{quoted[1].strip()}"', text)
    text = " ".join(text.split())
    return text if text.endswith(ENDS) else f"{text}."
