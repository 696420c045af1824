"""The starter for sentiment analysis: an encoder with a classifier on top, trained on SST-2.

SST-2 has sentences of film reviews, lower-cased, with spaces around marks and contractions. The network sees them as
they are and as a user would have typed them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator
from torch import nn
from transformers import BertForSequenceClassification

from experiments.config import UserError
from experiments.evaluation.tasks import examine
from experiments.evaluation.text_metrics import accuracy_and_f1
from experiments.reports.classification import classification_metrics
from experiments.starters.corpora import Corpus, held_out, text_file
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.task import EncoderTask, make_starter, opened
from experiments.starters.starter import Figure, StarterEvaluation, StarterRecipe
from experiments.text.batches import EncodedText, TextBatch
from experiments.text.classification import classification_step, encode, predict
from experiments.training.state import Metrics, StepResult

TASK = "sentiment-analysis"
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


class Review(NamedTuple):
    """A sentence, and the number of its label in `LABELS`."""

    text: str
    label: int

    @property
    def key(self) -> tuple[str]:
        return (f"{self.text}\t{self.label}",)


def read_sst2(data_dir: str | Path) -> Corpus:
    """The data of `text/sst2`: validation is a tenth of the training sentences, test the official development set.

    Raises UserError for data that are missing or damaged.
    """
    train, test = (_read(text_file(data_dir, f"sst2/{name}.tsv")) for name in ("train", "dev"))
    val = tuple(review for review in train if held_out(review.text, VALIDATION, "sst2"))
    chosen = set(val)
    return Corpus(tuple(review for review in train if review not in chosen), val, test)


def _read(path: Path) -> tuple[Review, ...]:
    reviews = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text, tab, label = line.rpartition("\t")
        if not tab or label not in ("0", "1"):
            raise UserError(f"line {number} of {path} is not `sentence<TAB>label` with the label 0 or 1")
        reviews.append(Review(text, int(label)))
    return tuple(reviews)


def natural(text: str) -> str:
    """A sentence of SST-2 as a user types it, but for capitals, which the model does not see: marks and contractions
    joined to their words, and a full stop, which the data lack."""
    for pattern, replacement in JOINED:
        text = pattern.sub(replacement, text)
    text = QUOTED.sub(lambda quoted: f' "{quoted[1].strip()}"', text)
    text = " ".join(text.split())
    return text if text.endswith(ENDS) else f"{text}."


class SentimentTask(EncoderTask):
    """Sentences as SST-2 writes them and as users do, in turns: what differs is how marks and contractions stand."""

    task, name, dataset = TASK, "sentiment", "sst2"
    sha256 = "99d61b85bbc1006815e683234aaa8bf22911628c214aa21281004d88b1337b8d"
    read = staticmethod(read_sst2)
    size = Size(layers=6, units=768, pieces=11_000, window=128)
    recipe = StarterRecipe(epochs=4, batch_size=32, learning_rate=1e-4)
    head = BertForSequenceClassification
    settings = {
        "num_labels": len(LABELS),
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }
    selected_by = "val_accuracy"
    columns = ("loss", "accuracy")

    def texts(self) -> list[str]:
        return [form(review.text) for form in (str, natural) for review in self.data.train]

    @cached_property
    def forms(self) -> tuple[list[EncodedText], list[EncodedText]]:
        """The training sentences in both forms."""
        typed = [Review(natural(review.text), review.label) for review in self.data.train]
        return self.encode(self.data.train), self.encode(typed)

    def items(self, epoch: int) -> list[EncodedText]:
        pairs = zip(*self.forms, strict=True)
        return [pair[(place + epoch) % 2] for place, pair in enumerate(pairs)]

    def encode(self, reviews: Sequence[Review]) -> list[EncodedText]:
        """Sentences as the network reads them; the target is the label."""
        return encode(self.tokenizer, [review.text for review in reviews], [review.label for review in reviews])[0]

    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
        return classification_step(model, batch)

    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        reviews: tuple[Review, ...] = getattr(self.data, part)
        found = predict(network, self.encode(reviews), accelerator)
        measured = classification_metrics(found)
        metrics = {name: measured[name] for name in self.columns}
        rows = zip(reviews, found.predicted.tolist(), found.probabilities[:, 1].tolist(), strict=True)
        said = [
            {"text": review.text, "label": LABELS[review.label], "said": LABELS[number], "positive": round(score, 4)}
            for review, number, score in rows
        ]
        return metrics, said


def evaluate(folder: Path, data_dir: Path) -> StarterEvaluation:
    """Accuracy on the development set of SST-2, as the task answers, beside a majority and a bag of words."""
    data = read_sst2(data_dir)
    task, seconds = opened(TASK, folder)
    rows = [{"text": review.text, "label": LABELS[review.label]} for review in data.test]
    found = examine(task, rows).metrics
    typed = examine(task, [{**row, "text": natural(row["text"])} for row in rows]).metrics
    majority = Counter(review.label for review in data.train + data.val).most_common(1)[0][0]
    always = sum(review.label == majority for review in data.test) / len(rows)
    words = accuracy_and_f1(bag_of_words(data), [row["label"] for row in rows])
    what = f"on SST-2 dev ({len(rows)} sentences)"
    beside = f"majority class {always:.3f}; logistic regression on words and word pairs"
    figures = (
        Figure(f"accuracy {what}", found["accuracy"], f"{beside} {words['accuracy']:.3f}"),
        Figure(f"macro F1 {what}", found["f1"], f"logistic regression {words['f1']:.3f}"),
        Figure("accuracy on the same sentences with marks and contractions as people type them", typed["accuracy"]),
        seconds,
    )
    return StarterEvaluation(figures)


def bag_of_words(data: Corpus) -> list[str]:
    """What a logistic regression over words and word pairs, weighted by tf-idf, says to the test sentences."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    learned = data.train + data.val
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True), LogisticRegression(C=10)
    )
    model.fit([review.text for review in learned], [LABELS[review.label] for review in learned])
    return [str(label) for label in model.predict([review.text for review in data.test])]


STARTER = make_starter(SentimentTask, evaluate)
