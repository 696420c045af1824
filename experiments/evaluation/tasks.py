"""How good a model of a task is on labeled rows: metrics per task, and the small samples that come with the project.

The samples are six to ten lines each, written for this project: they show that a model does its job, not which of two
good models is better.
"""

import csv
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.evaluation import text_metrics as metrics
from experiments.evaluation.right_answers import right_answers
from tasks.base import Task
from tasks.csv_files import read_integers

SAMPLES = Path(__file__).with_name("samples")
NEXT_WORDS = 5
NAMED = 10  # classes, in errors
IMAGES_AT_ONCE = 256  # those of a large file would not fit into memory together

# Columns hold text; of images also the path of a file.
Rows = Sequence[Mapping[str, Any]]
Parameters = Mapping[str, Any]


class NoMetricError(Exception):
    """There is no metric for this task, model and rows. The text says why."""


@dataclass(frozen=True)
class RowScores:
    """A metric row by row: its total is the mean of `values` weighted by `weights`, or e to the power of that mean.

    `weights` is None where each row counts the same.
    """

    values: tuple[float, ...]
    weights: tuple[float, ...] | None = None
    exponential: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What a model did on labeled rows.

    Attributes:
        metrics: the totals.
        scores: those of the metrics that have a score for each row.
        answers: what the model said to each row, as text; empty where the metric needs no answer.
    """

    metrics: dict[str, float]
    scores: dict[str, RowScores] = field(default_factory=dict)
    answers: tuple[str, ...] = ()


Measure = Callable[[Any, Rows, Parameters], Evaluation]


@dataclass(frozen=True)
class TaskMetrics:
    """How a task is evaluated.

    Attributes:
        columns: of its labeled rows; those that may be empty are in `may_be_empty`.
        label: the column with the right answer; None where the text itself is what a model should expect.
        several: whether there may be several right answers, the best of which counts: a JSON list of texts in that
            column, or more columns `answer_2`, `answer_3`, ...
        measure: the metrics of a loaded task from rows.
        headline: the metric by which models are compared; it has a score for each row.
    """

    columns: tuple[str, ...]
    measure: Measure
    headline: str
    label: str | None = None
    may_be_empty: tuple[str, ...] = ()
    several: bool = False

    def further_label(self, column: str) -> bool:
        """Whether a column of a file holds another right answer."""
        return self.several and re.fullmatch(rf"{self.label}_\d+", column, re.IGNORECASE) is not None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the model is given."""
        return tuple(column for column in self.columns if column != self.label)


def evaluate(task: Task, rows: Rows, parameters: Parameters | None = None) -> dict[str, float]:
    """The metrics of `examine`, without the single rows."""
    return examine(task, rows, parameters).metrics


def examine(task: Task, rows: Rows, parameters: Parameters | None = None) -> Evaluation:
    """Metrics of a loaded task, asked with these parameters, on labeled rows, and their number as `examples`.

    Raises NoMetricError if the task has no metric, a column is missing, or the model knows none of the labels.
    """
    task_metrics = TASK_METRICS.get(task.name)
    if task_metrics is None:
        raise NoMetricError(f"{task.name} has no metric")
    missing = [column for column in task_metrics.columns if any(row.get(column) is None for row in rows)]
    if missing or not rows:
        raise NoMetricError(f"labeled rows of {task.name} have columns {', '.join(task_metrics.columns)}")
    found = task_metrics.measure(task, rows, parameters or {})
    return Evaluation({**found.metrics, "examples": float(len(rows))}, found.scores, found.answers)


def sample_rows(task: str) -> list[dict[str, str]]:
    """The labeled sample of a task that comes with the project; empty where there is none."""
    path = SAMPLES / f"{task}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_sha256(rows: Rows) -> str:
    """SHA-256 of all cells and of the files that they name, each with its length before it."""
    digest = hashlib.sha256()
    for row in rows:
        for value in row.values():
            content = value.read_bytes() if isinstance(value, Path) else value.encode()
            digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def request(task: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a model of a task is given of a labeled row."""
    given = {column: row[column] for column in TASK_METRICS[task].inputs}
    if task == "sequence-reversal":
        return {"sequence": read_integers(given["sequence"])}
    if task == "image-classification" and isinstance(given["image"], Path):
        return {"image": given["image"].read_bytes()}
    return given


def _means(scores: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], dict[str, RowScores]]:
    """Totals and rows of metrics that are plain means over rows."""
    totals = {name: sum(values) / len(values) for name, values in scores.items()}
    return totals, {name: RowScores(tuple(map(float, values))) for name, values in scores.items()}


def _ask(task: Task, rows: Rows, parameters: Parameters) -> list[dict[str, Any]]:
    return task.run([request(task.name, row) for row in rows], parameters)


def _sentiment(task: Any, rows: Rows, parameters: Parameters) -> Evaluation:
    return _labels(task, task.model.config.id2label.values(), rows, parameters)


def _images(task: Any, rows: Rows, parameters: Parameters) -> Evaluation:
    return _labels(task, task.config.classes, rows, parameters)


def _labels(task: Task, classes: Any, rows: Rows, parameters: Parameters) -> Evaluation:
    right = [row["label"].lower() for row in rows]
    known = {str(label).lower() for label in classes}
    if not known.issuperset(right):
        raise NoMetricError(f"the model's classes are {_some(known)}, the labels of the rows {_some(set(right))}")
    said = []
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        said += [answer["label"] for answer in _ask(task, rows[start : start + IMAGES_AT_ONCE], parameters)]
    predicted = [label.lower() for label in said]
    _, scores = _means({"accuracy": [one == other for one, other in zip(predicted, right, strict=True)]})
    return Evaluation(metrics.accuracy_and_f1(predicted, right), scores, tuple(said))


def _some(names: set[str]) -> str:
    shown = sorted(name if len(name) <= 40 else name[:37] + "..." for name in names)
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")


def _texts(metric: Callable[[str, str], dict[str, float]]) -> Measure:
    """Texts by a metric that is a mean over rows: of each, that beside the right answer where it is highest."""

    def measure(task: Task, rows: Rows, parameters: Parameters) -> Evaluation:
        label = TASK_METRICS[task.name].label or ""
        said = [answer[label] for answer in _ask(task, rows, parameters)]
        each = [metrics.best(metric, one, right_answers(row, label)) for one, row in zip(said, rows, strict=True)]
        totals, scores = _means({name: [row[name] for row in each] for name in each[0]})
        return Evaluation(totals, scores, tuple(said))

    return measure


def _next_words(task: Task, rows: Rows, parameters: Parameters) -> Evaluation:
    answers = _ask(task, rows, {**parameters, "top_k": NEXT_WORDS})
    guesses = [[candidate["word"].lower() for candidate in answer["candidates"]] for answer in answers]
    pairs = [(words, row["next_word"].lower()) for words, row in zip(guesses, rows, strict=True)]
    totals, scores = _means(
        {
            "accuracy": [words[:1] == [word] for words, word in pairs],
            f"top{NEXT_WORDS}_accuracy": [word in words for words, word in pairs],
        }
    )
    return Evaluation(totals, scores, tuple(answer["next_word"] for answer in answers))


def _reversals(task: Task, rows: Rows, parameters: Parameters) -> Evaluation:
    answers = _ask(task, rows, parameters)
    totals, scores = _means({"sequence_accuracy": [answer["correct"] for answer in answers]})
    return Evaluation(totals, scores, tuple(" ".join(map(str, answer["reversed"])) for answer in answers))


def _perplexity(task: Any, rows: Rows, parameters: Parameters) -> Evaluation:  # noqa: ARG001
    """`bits_per_byte`, by which models with different tokens can be compared, and `perplexity` of a token."""
    found = [task.engine.log_likelihood(row["text"]) for row in rows]
    nats = -sum(score for score, _, _ in found)
    tokens, size = (sum(one[place] for one in found) for place in (1, 2))
    if not tokens or not size:
        raise NoMetricError("the texts have no tokens that the model could predict")
    bits = [-score / math.log(2) / max(1, size) for score, _, size in found]
    a_token = [-score / max(1, count) for score, count, _ in found]
    return Evaluation(
        {"bits_per_byte": nats / math.log(2) / size, "perplexity": math.exp(nats / tokens)},
        {
            "bits_per_byte": RowScores(tuple(bits), tuple(float(size) for _, _, size in found)),
            "perplexity": RowScores(tuple(a_token), tuple(float(count) for _, count, _ in found), exponential=True),
        },
    )


TASK_METRICS: Mapping[str, TaskMetrics] = {
    "sentiment-analysis": TaskMetrics(("text", "label"), _sentiment, "accuracy", "label"),
    "question-answering": TaskMetrics(
        ("question", "context", "answer"), _texts(metrics.squad), "f1", "answer", may_be_empty=("answer",), several=True
    ),
    "summarization": TaskMetrics(("text", "summary"), _texts(metrics.rouge), "rougeL", "summary", several=True),
    "next-word-prediction": TaskMetrics(("text", "next_word"), _next_words, "accuracy", "next_word"),
    "story-completion": TaskMetrics(("text",), _perplexity, "bits_per_byte"),
    "image-classification": TaskMetrics(("image", "label"), _images, "accuracy", "label"),
    "sequence-reversal": TaskMetrics(("sequence",), _reversals, "sequence_accuracy"),
}
