"""Answers cut out of a context: the right scores, at the right place wherever it is, and none where there is none."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tasks.base import TaskInputError, TaskStopped
from tasks.engines import extractive, pretrained
from tests.support.tiny_models import LINES
from tests.support.words import Countdown

QUESTION = "Who wrote the book?"
CONTEXT = LINES[2]
Get = Callable[[str, str], Any]


@pytest.fixture(params=["distilbert-qa", "roberta-qa"])
def task(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("question-answering", request.param)


class Pointer(nn.Module):
    """Stands in for a trained model: it points at one token id, wherever it is, else at the first token."""

    device = torch.device("cpu")

    def __init__(self, token: int, sure: float = 10.0, sure_of_none: float = 0.0) -> None:
        super().__init__()
        self.token, self.sure, self.sure_of_none = token, sure, sure_of_none

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        found = input_ids == self.token
        logits = found * self.sure - 5.0
        logits[:, 0] = torch.where(found.any(dim=1), 0.0, self.sure_of_none)
        return SimpleNamespace(start_logits=logits, end_logits=logits.clone())


def point(task: Any, monkeypatch: pytest.MonkeyPatch, word: str, **options: Any) -> None:
    *_, token, _end = task.tokenizer(f"a {word}")["input_ids"]
    monkeypatch.setattr(task.pipeline, "model", Pointer(token, **options))


def by_hand(task: Any) -> tuple[dict[tuple[int, int], float], float]:
    """Scores of all spans of CONTEXT, which fits one window, and of no answer, one by one."""
    encoded = task.tokenizer(QUESTION, CONTEXT, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        output = task.model(**encoded)
    start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
    inside = [place for place, sequence in enumerate(encoded.sequence_ids(0)) if sequence == 1]
    spans = {
        (offsets[i][0], offsets[j][1]): math.exp(start[i] + end[j])
        for i in inside
        for j in inside
        if i <= j < i + extractive.MAX_ANSWER_TOKENS
    }
    nothing = math.exp(start[0] + end[0])
    total = sum(spans.values()) + nothing
    return {span: score / total for span, score in spans.items()}, nothing / total


def test_scores_are_shares_of_all_spans_and_no_answer(task: Any) -> None:
    [row] = task.run([{"question": QUESTION, "context": CONTEXT}], {"top_k": 20})
    spans, nothing = by_hand(task)
    scores = [answer["score"] for answer in row["answers"]]
    assert scores == sorted(scores, reverse=True) and row["windows"] == 1
    [none] = [answer for answer in row["answers"] if not answer["answer"]]
    assert (none["start"], none["end"]) == (0, 0)
    assert none["score"] == pytest.approx(nothing, rel=1e-4)
    found = [answer for answer in row["answers"] if answer["answer"]]
    assert found[0]["score"] == pytest.approx(max(spans.values()), rel=1e-4)
    for answer in found:
        # The span itself or one within it, before it was widened to whole words.
        within = [s for (i, j), s in spans.items() if answer["start"] <= i < j <= answer["end"]]
        assert any(answer["score"] == pytest.approx(score, rel=1e-4) for score in within)
    assert {name: row[name] for name in ("answer", "score", "start", "end")} == row["answers"][0]


def test_answers_are_whole_words_of_the_context_that_do_not_overlap(task: Any) -> None:
    context = " ".join(LINES)
    [row] = task.run([{"question": QUESTION, "context": context}], {"top_k": 10})
    found = [answer for answer in row["answers"] if answer["answer"]]
    assert len(found) >= 8 and len(row["answers"]) == 10
    taken: set[int] = set()
    for answer in found:
        start, end = answer["start"], answer["end"]
        assert context[start:end] == answer["answer"] == answer["answer"].strip()
        assert not (start and context[start - 1].isalnum() and context[start].isalnum()), "a word is cut at its start"
        assert not (end < len(context) and context[end - 1].isalnum() and context[end].isalnum()), "... at its end"
        assert taken.isdisjoint(range(start, end))
        taken.update(range(start, end))


@pytest.mark.parametrize("place", [0, 1, 7, 20, 33, 40, 55, 71, 90, 119, 120])
def test_an_answer_is_found_wherever_it_is_in_a_long_context(
    task: Any, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    words = ["the", "cat"] * 60
    words.insert(place, "moon")
    context = " " + "  ".join(words)  # RoBERTa's token for a word has the space before it
    point(task, monkeypatch, "moon")
    [row] = task.run([{"question": QUESTION, "context": context}], {"top_k": 3})
    assert (row["answer"], row["start"]) == ("moon", context.index("moon"))
    assert row["windows"] > 2 and row["score"] > 0.9


def test_two_answers_are_found_in_different_windows(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    context = "moon " + "the cat " * 50 + "moon"
    point(task, monkeypatch, "moon", sure=12)
    [row] = task.run([{"question": QUESTION, "context": context}], {"top_k": 2})
    # The tokenizer of RoBERTa knows the first word, without a space before it, by another token.
    places = [answer["start"] for answer in row["answers"] if answer["answer"] == "moon"]
    expected = {0, len(context) - 4} if task.model.config.model_type == "distilbert" else {len(context) - 4}
    assert set(places) == expected


def test_where_no_window_has_an_answer_there_is_none(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point(task, monkeypatch, "moon")
    for context in ("The cat sat.", "the cat sat on the mat " * 30):
        [row] = task.run([{"question": QUESTION, "context": context}], {"top_k": 2})
        assert (row["answer"], row["start"], row["end"]) == ("", 0, 0)
        assert row["score"] > 0.5 and len(row["answers"]) == 2


def test_windows_without_the_answer_do_not_speak_for_none(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point(task, monkeypatch, "moon", sure_of_none=20.0)
    [row] = task.run([{"question": QUESTION, "context": "the cat " * 60 + "moon " + "the cat " * 60}])
    assert row["answer"] == "moon"
    [row] = task.run([{"question": QUESTION, "context": "the cat " * 120}])
    assert row["answer"] == ""


@pytest.mark.parametrize("words", [5, 30, 31, 60, 200])
def test_every_token_of_the_context_starts_an_answer_in_exactly_one_window(task: Any, words: int) -> None:
    context = " ".join(f"w{number}" for number in range(words))
    text = task.pipeline.divide({"question": QUESTION, "context": context})
    text["scores"] = task.pipeline.read(text["windows"])
    starts = [set(extractive._Spans.of(text, index).begins.tolist()) for index in range(len(text["windows"]))]
    expected = {start for start, end in task.tokenizer(context, return_offsets_mapping=True)["offset_mapping"] if end}
    assert set().union(*starts) == expected
    assert sum(map(len, starts)) == len(expected)


@pytest.mark.parametrize("context", ["😀 שלום 😀 moon", "e\u0301te\u0301 moon", "\n\n moon \n", "你好 moon"])
def test_offsets_count_characters_of_the_context_as_given(
    task: Any, monkeypatch: pytest.MonkeyPatch, context: str
) -> None:
    point(task, monkeypatch, "moon")
    [row] = task.run([{"question": QUESTION, "context": context}])
    assert context[row["start"] : row["end"]] == row["answer"] == "moon"


def test_questions_and_contexts_that_are_too_long_are_refused(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskInputError, match=r"question has \d+ tokens; valid: at most 32 for this model"):
        task.run([{"question": "why " * 100, "context": CONTEXT}])
    monkeypatch.setattr(extractive, "MAX_WINDOWS", 2)
    with pytest.raises(TaskInputError, match=r"context has more than \d+ tokens; valid: at most \d+"):
        task.run([{"question": QUESTION, "context": "word " * 500}])
    short, long = {"question": QUESTION, "context": CONTEXT}, {"question": "why " * 100, "context": CONTEXT}
    with pytest.raises(TaskInputError, match=r"^row 2 of 3: question has \d+ tokens"):
        task.run([short, long, short])


def test_rows_are_answered_alike_alone_and_in_batches(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = [*LINES, " ".join(LINES * 2), LINES[0]]
    rows = [{"question": QUESTION, "context": context} for context in contexts]
    alone = [task.run([row], {"top_k": 2})[0] for row in rows]
    batches = []
    monkeypatch.setattr(extractive, "BATCH_SIZE", 4)
    monkeypatch.setattr(pretrained, "TEXTS_AT_ONCE", 5)
    read = task.model.forward
    monkeypatch.setattr(task.model, "forward", lambda **rows: batches.append(len(rows["input_ids"])) or read(**rows))
    for one, other in zip(task.run(rows, {"top_k": 2}), alone, strict=True):
        assert (one["windows"], one["tokens"]) == (other["windows"], other["tokens"])
        assert [found["answer"] for found in one["answers"]] == [found["answer"] for found in other["answers"]]
        scores = [[found["score"] for found in row["answers"]] for row in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert batches[0] == 4 and len(batches) < len(rows)


def test_a_cancelled_list_stops_between_batches(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "TEXTS_AT_ONCE", 2)
    looks = Countdown(3)
    with pytest.raises(TaskStopped):
        task.run([{"question": QUESTION, "context": context} for context in LINES * 4], cancel=looks)
    assert looks.late == 0
