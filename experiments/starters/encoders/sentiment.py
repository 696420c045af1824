"""The starter for sentiment analysis: an encoder with a classifier on top, trained on SST-2."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from transformers import BertForSequenceClassification

from experiments.config import StarterConfig
from experiments.evaluation.tasks import examine
from experiments.evaluation.text_metrics import accuracy_and_f1
from experiments.starters.corpora import digest
from experiments.starters.encoders.batches import Batch, Item
from experiments.starters.encoders.report import make_family, opened
from experiments.starters.encoders.setup import Lesson, outputs
from experiments.starters.encoders.sst2 import LABELS, Review, Sst2, natural, read_sst2
from experiments.starters.starter import Figure, Judgment, Starter
from experiments.training.family import DataIdentity
from experiments.training.state import Metrics, StepResult

TASK, NAME = "sentiment-analysis", "sentiment"
# What the shipped model was trained on; other sentences make another model.
SST2_SHA256 = "99d61b85bbc1006815e683234aaa8bf22911628c214aa21281004d88b1337b8d"


@dataclass
class SentimentLesson(Lesson):
    """Sentences as SST-2 writes them and as people do, in turns: what differs is how marks and contractions stand."""

    data: Sst2
    origin: str

    task, name, dataset = TASK, NAME, "sst2"
    head = BertForSequenceClassification
    settings = {
        "num_labels": len(LABELS),
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: number for number, label in enumerate(LABELS)},
    }
    selected_by = "val_accuracy"
    columns = ("loss", "accuracy")
    example = {"text": "The film was a joy from the first minute to the last."}

    def identity(self) -> DataIdentity:
        data = self.data
        everything, held = (_digest(part) for part in (data.train + data.val + data.test, data.val + data.test))
        return DataIdentity("sst2", self.origin, everything, held, verified=everything == SST2_SHA256)

    def texts(self) -> list[str]:
        return [form(review.text) for form in (str, natural) for review in self.data.train]

    def __len__(self) -> int:
        return len(self.data.train)

    @cached_property
    def forms(self) -> tuple[list[Item], list[Item]]:
        """The training sentences in both forms."""
        typed = [Review(natural(review.text), review.label) for review in self.data.train]
        return self.encode(self.data.train), self.encode(typed)

    def items(self, epoch: int) -> list[Item]:
        pairs = zip(*self.forms, strict=True)
        return [pair[(place + epoch) % 2] for place, pair in enumerate(pairs)]

    def encode(self, reviews: Sequence[Review]) -> list[Item]:
        """Sentences as the network reads them; the target is the label."""
        texts = [review.text for review in reviews]
        encoded = self.tokenizer(texts, truncation=True)
        rows = zip(encoded["input_ids"], encoded["token_type_ids"], reviews, strict=True)
        return [Item(tokens, kinds, torch.tensor([float(review.label)])) for tokens, kinds, review in rows]

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
        logits, label = model(**batch.inputs).logits.float(), batch.target[:, 0].long()
        right = (logits.detach().argmax(dim=1) == label).sum()
        return StepResult(F.cross_entropy(logits, label, reduction="sum"), {"accuracy": right}, batch.total)

    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        reviews: tuple[Review, ...] = getattr(self.data, part)
        logits = torch.zeros(len(reviews), len(LABELS))
        for places, _, said in outputs(network, self.encode(reviews), accelerator):
            logits[places] = said.logits.float().cpu()
        labels = torch.tensor([review.label for review in reviews])
        chosen = logits.argmax(dim=1)
        metrics = {
            "loss": F.cross_entropy(logits, labels).item(),
            "accuracy": (chosen == labels).float().mean().item(),
        }
        rows = zip(reviews, chosen.tolist(), logits.softmax(dim=1)[:, 1].tolist(), strict=True)
        said = [
            {"text": review.text, "label": LABELS[review.label], "said": LABELS[number], "positive": round(score, 4)}
            for review, number, score in rows
        ]
        return metrics, said


def _digest(reviews: Sequence[Review]) -> str:
    return digest(f"{review.text}\t{review.label}" for review in reviews)


def read(config: StarterConfig) -> SentimentLesson:
    """The lesson from the data in the configuration's folder."""
    data = read_sst2(config.data_dir)
    train = data.train[: config.train_size or None]
    return SentimentLesson(Sst2(train, data.val, data.test), f"{config.data_dir}/text/sst2")


def judge(folder: Path, data_dir: Path) -> Judgment:
    """Accuracy on the development set of SST-2, as the task answers, beside a majority and a bag of words."""
    data = read_sst2(data_dir)
    task, seconds = opened(TASK, folder, SentimentLesson.example)
    rows = [{"text": review.text, "label": LABELS[review.label]} for review in data.test]
    found = examine(task, rows).metrics
    typed = examine(task, [{**row, "text": natural(row["text"])} for row in rows]).metrics
    majority = Counter(review.label for review in data.train + data.val).most_common(1)[0][0]
    always = sum(review.label == majority for review in data.test) / len(rows)
    words = accuracy_and_f1(_bag_of_words(data), [row["label"] for row in rows])
    what = f"on SST-2 dev ({len(rows)} sentences)"
    beside = f"majority class {always:.3f}; logistic regression over words and pairs of them"
    figures = (
        Figure(f"accuracy {what}", found["accuracy"], f"{beside} {words['accuracy']:.3f}"),
        Figure(f"macro F1 {what}", found["f1"], f"logistic regression {words['f1']:.3f}"),
        Figure("accuracy on the same sentences with marks and contractions as people type them", typed["accuracy"]),
        Figure("seconds from loading the model to its first answer", seconds, "must be below 3", 2),
    )
    return Judgment(figures)


def _bag_of_words(data: Sst2) -> list[str]:
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


ABOUT = """\
## What it is

A BERT classifier with two labels, NEGATIVE and POSITIVE: six layers of width 384 with 768 units in their feed- \
forward parts, 11,000 word pieces, 11.5 million parameters. Its matrices are stored as float8, one byte a number. Any \
tool that loads a `BertForSequenceClassification` can use the folder. It is there so that everything works on the \
first day and without a network; for anything that matters choose a larger model.

It begins with [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0), a \
public sentence encoder: this model is a smaller copy of it, trained further. Without that beginning the same recipe \
gets less.

## Data and licenses

- SST-2, the Stanford Sentiment Treebank as two classes of sentences from film reviews (Socher et al. 2013, \
`stanfordnlp/sst2`; the sentences as in `clairett/pytorch-sentiment-classification`): it states no license. Models \
trained on it are commonly published; nothing of it is in this folder but weights. Training: 6,223 sentences; \
validation, which chose the epoch: 697; test: the official development set of 872, read once.

The sentences are lower-cased, without full stops and hyphens, and with spaces around marks and contractions ("do \
n't"). In training every other sentence is put as people type it, so that both work; at run time nothing is changed.

## What it cannot do

It knows film reviews in English, one or a few sentences long, and only two answers: what is neutral, mixed or no \
opinion at all still gets one of them, often with high confidence. Irony, comparisons ("better than the book, which \
says little") and praise of something else mislead it. Names, rare words and other languages fall into syllables that \
say little to it; emoji are unknown to it. It does not see capital letters. It reads 128 tokens at once; longer texts \
are read in windows, whose scores are averaged. Judge no person by it: it has learned whatever prejudice its sentences \
hold.
"""

STARTER = Starter(
    name=NAME,
    tasks=(TASK,),
    family=make_family(read),
    judge=judge,
    about=ABOUT,
    front={
        "license": "apache-2.0",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "datasets": ["stanfordnlp/sst2"],
    },
)
