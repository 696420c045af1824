"""How good a model of a task is on labelled rows: metrics per task, and the small samples that come with the project.

The samples are six to ten lines each, written for this project: they show that a model does its job, not which of two
good models is better.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.registration import metrics
from tasks.base import Task

SAMPLES = Path(__file__).with_name("samples")
NEXT_WORDS = 5

Rows = Sequence[Mapping[str, str]]
Parameters = Mapping[str, Any]


class NoMetricError(Exception):
    """There is no metric for this task, model and rows. The text says why."""


@dataclass(frozen=True)
class Judge:
    """How a task is judged: the columns of its labelled rows, the metrics from them, the one that people read first."""

    columns: tuple[str, ...]
    measure: Callable[[Any, Rows, Parameters], dict[str, float]]
    headline: str


def evaluate(task: Task, rows: Rows, parameters: Parameters | None = None) -> dict[str, float]:
    """Metrics of a loaded task, asked with these parameters, on labelled rows, and their number as `examples`.

    Raises NoMetricError if the task has no metric, a column is missing, or the model knows none of the labels.
    """
    judge = JUDGES.get(task.name)
    if judge is None:
        raise NoMetricError(f"{task.name} has no metric")
    missing = [column for column in judge.columns if any(row.get(column) is None for row in rows)]
    if missing or not rows:
        raise NoMetricError(f"labelled rows of {task.name} have columns {', '.join(judge.columns)}")
    return {**judge.measure(task, rows, parameters or {}), "examples": float(len(rows))}


def sample_rows(task: str) -> list[dict[str, str]]:
    """The labelled sample of a task that comes with the project; empty where no metric makes sense."""
    path = SAMPLES / f"{task}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sentiment(task: Any, rows: Rows, parameters: Parameters) -> dict[str, float]:
    right = [row["label"].lower() for row in rows]
    known = {label.lower() for label in task.model.config.id2label.values()}
    if not known.issuperset(right):
        raise NoMetricError(f"the model's classes are {', '.join(sorted(known))}, the sample's {', '.join(set(right))}")
    answers = task.run([{"text": row["text"]} for row in rows], parameters)
    return metrics.accuracy_and_f1([answer["label"].lower() for answer in answers], right)


def _answers(task: Task, rows: Rows, parameters: Parameters) -> dict[str, float]:
    found = task.run([{"question": row["question"], "context": row["context"]} for row in rows], parameters)
    return metrics.squad([answer["answer"] for answer in found], [row["answer"] for row in rows])


def _summaries(task: Task, rows: Rows, parameters: Parameters) -> dict[str, float]:
    written = task.run([{"text": row["text"]} for row in rows], parameters)
    return metrics.rouge([answer["summary"] for answer in written], [row["summary"] for row in rows])


def _next_words(task: Task, rows: Rows, parameters: Parameters) -> dict[str, float]:
    answers = task.run([{"text": row["text"]} for row in rows], {**parameters, "top_k": NEXT_WORDS})
    guesses = [[candidate["word"].lower() for candidate in answer["candidates"]] for answer in answers]
    right = [row["next_word"].lower() for row in rows]
    pairs = list(zip(guesses, right, strict=True))
    return {
        "accuracy": sum(words[:1] == [word] for words, word in pairs) / len(pairs),
        f"top{NEXT_WORDS}_accuracy": sum(word in words for words, word in pairs) / len(pairs),
    }


def _perplexity(task: Any, rows: Rows, parameters: Parameters) -> dict[str, float]:  # noqa: ARG001
    """`perplexity` of a token, and `bits_per_byte`, which models with different tokens can be compared by."""
    scores = [_log_likelihood(task, row["text"]) for row in rows]
    nats = -sum(score for score, _ in scores)
    tokens = sum(count for _, count in scores)
    if not tokens:
        raise NoMetricError("the texts have no tokens that the model could predict")
    size = sum(len(row["text"].encode()) for row in rows)
    return {"perplexity": math.exp(nats / tokens), "bits_per_byte": nats / math.log(2) / size}


def _log_likelihood(task: Any, text: str) -> tuple[float, int]:
    """The log-probability (natural) of a text's tokens and their number, in windows that do not overlap.

    Each window begins with the model's token for the start of a text, so that the first word is predicted too.
    """
    import torch

    tokenizer = task.tokenizer
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    begins = [] if begin is None else [begin]
    tokens = task.encode(text, add_special_tokens=False)["input_ids"]
    total, count, room = 0.0, 0, task.window - len(begins)
    for start in range(0, len(tokens), room):
        window = torch.tensor([begins + tokens[start : start + room]], device=task.model.device)
        with torch.inference_mode():
            scores = task.model(input_ids=window).logits[0, :-1].float().log_softmax(-1)
        predicted = scores.gather(-1, window[0, 1:, None])
        total, count = total + float(predicted.sum()), count + predicted.numel()
    return total, count


JUDGES: Mapping[str, Judge] = {
    "sentiment-analysis": Judge(("text", "label"), _sentiment, "accuracy"),
    "question-answering": Judge(("question", "context", "answer"), _answers, "f1"),
    "summarization": Judge(("text", "summary"), _summaries, "rougeL"),
    "next-word-prediction": Judge(("text", "next_word"), _next_words, "accuracy"),
    "story-completion": Judge(("text",), _perplexity, "perplexity"),
}
