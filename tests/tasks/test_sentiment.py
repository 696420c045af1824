"""Text classification: every class's score as transformers' own pipeline gives it; long texts in windows."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import pipeline

from tasks import sentiment
from tasks.base import TaskInputError
from tasks.engines import pretrained
from tests.support.tiny_models import LINES

Get = Callable[[str, str], Any]
TEXTS = [*LINES, "good", "😀 שלום", "A line\nand another.", "x" * 40]


@pytest.fixture(params=["distilbert-sentiment", "roberta-sentiment"])
def task(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("sentiment-analysis", request.param)


def rows(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def test_scores_are_those_of_the_plain_pipeline(task: Any) -> None:
    plain = pipeline("text-classification", model=task.model, tokenizer=task.tokenizer, top_k=None)
    for result, expected in zip(task.run(rows(TEXTS)), plain(TEXTS), strict=True):
        # One text at a time there, batches here: processors sum in another order, and differ in the sixth digit.
        assert result["scores"] == pytest.approx({entry["label"]: entry["score"] for entry in expected}, abs=1e-5)
        assert result["label"] == expected[0]["label"] == next(iter(result["scores"]))
        assert result["score"] == max(result["scores"].values()) == next(iter(result["scores"].values()))
        assert list(result["scores"].values()) == sorted(result["scores"].values(), reverse=True)
        assert sum(result["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert result["windows"] == 1 and result["model"].endswith("sentiment")


def test_labels_are_those_of_the_models_config(tiny_task: Get) -> None:
    names = [
        set(tiny_task("sentiment-analysis", f"{kind}-sentiment").run(rows(["good"]))[0]["scores"])
        for kind in ("distilbert", "roberta")
    ]
    assert names == [{"LABEL_0", "LABEL_1"}, {"negative", "neutral", "positive"}]


def test_a_text_has_the_same_scores_alone_and_in_batches_of_any_size(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = TEXTS * 3 + ["long " * 100]
    together = task.run(rows(texts))
    monkeypatch.setattr(sentiment, "BATCH_SIZE", 4)
    monkeypatch.setattr(pretrained, "TEXTS_AT_ONCE", 7)
    for text, one, other in zip(texts, together, task.run(rows(texts)), strict=True):
        [alone] = task.run(rows([text]))
        assert alone["scores"] == pytest.approx(one["scores"], abs=1e-5)
        assert alone["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert alone["windows"] == one["windows"] == other["windows"]


def test_a_long_text_is_the_average_of_its_windows_by_their_lengths(task: Any) -> None:
    text = " ".join(LINES * 4)
    [result] = task.run(rows([text]))
    inner = task.window - 2
    tokens = task.tokenizer(text, add_special_tokens=False)["input_ids"]
    parts = [tokens[start : start + inner] for start in range(0, len(tokens), inner)]
    windows = [[task.tokenizer.cls_token_id, *part, task.tokenizer.sep_token_id] for part in parts]
    with torch.no_grad():
        shares = torch.cat([task.model(torch.tensor([window])).logits.softmax(dim=-1) for window in windows])
    weights = torch.tensor([float(len(window)) for window in windows])
    expected = (shares * weights[:, None]).sum(dim=0) / weights.sum()
    found = [result["scores"][name] for _, name in sorted(task.model.config.id2label.items())]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert result["windows"] == len(windows) > 2
    assert result["tokens"] == sum(map(len, windows))


def test_every_token_of_the_window_can_be_used(task: Any) -> None:
    # RoBERTa's table has 66 positions for its 64 tokens, and its tokenizer does not say so.
    assert task.window == 64
    [result] = task.run(rows(["word " * 500]))
    assert result["windows"] > 5


def test_more_windows_than_there_is_time_for_are_refused(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentiment, "MAX_WINDOWS", 3)
    assert task.run(rows(["word " * 20]))[0]["windows"] <= 3
    with pytest.raises(TaskInputError, match=f"^text has more than {3 * task.window} tokens; valid: at most"):
        task.run(rows(["word " * 500]))
    monkeypatch.setattr(pretrained, "TEXTS_AT_ONCE", 2)
    for place in (1, 2, 3):
        texts = ["good"] * 3
        texts[place - 1] = "word " * 500
        with pytest.raises(TaskInputError, match=f"^row {place} of 3: text has more than"):
            task.run(rows(texts))


def test_a_text_without_a_token_is_refused_and_named(tiny_task: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task("sentiment-analysis", "distilbert-sentiment")
    for text in ("\u202e", "\u0301"):  # BERT's normalizer drops them
        with pytest.raises(TaskInputError, match=r"^row 2 of 2: text has nothing in it that this model knows"):
            task.run(rows(["good", text]))
    assert len(task.run(rows(["good \u202e"]), {"explain": True})) == 1


def test_a_model_with_independent_labels_gets_a_sigmoid_each(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task.model.config, "problem_type", "multi_label_classification")
    [result] = task.run(rows(["good"]))
    with torch.no_grad():
        logits = task.model(**task.tokenizer("good", return_tensors="pt")).logits[0]
    assert sorted(result["scores"].values()) == pytest.approx(sorted(logits.sigmoid().tolist()), abs=1e-5)


def test_the_weight_of_a_word_is_what_the_score_loses_without_it(task: Any) -> None:
    text = "This film is wonderful; that one was 😀 a terrible waste."
    [result] = task.run(rows([text]), {"explain": True})
    [plain] = task.run(rows([text]))
    assert result["scores"] == plain["scores"] and "words" not in plain
    without = {
        "This": "film is wonderful; that one was 😀 a terrible waste.",
        "wonderful": "This film is; that one was 😀 a terrible waste.",
        ";": "This film is wonderful that one was 😀 a terrible waste.",
        "😀": "This film is wonderful; that one was a terrible waste.",
        "waste": "This film is wonderful; that one was 😀 a terrible.",
        ".": "This film is wonderful; that one was 😀 a terrible waste",
    }
    weights = {word["word"]: word["weight"] for word in result["words"]}
    assert set(without) < set(weights) and len(weights) == 13
    index = next(i for i, name in task.model.config.id2label.items() if name == result["label"])
    for word, left in without.items():
        with torch.no_grad():
            score = task.model(**task.tokenizer(left, return_tensors="pt")).logits.softmax(dim=-1)[0, index]
        assert weights[word] == pytest.approx(result["score"] - float(score), abs=1e-5), word
    assert len({round(weight, 6) for weight in weights.values()}) > 6


def test_the_words_of_an_explanation_stand_where_it_says(task: Any) -> None:
    for text in (*TEXTS, "word " * 90, "很好 的电影。\n\nYes"):
        [result] = task.run(rows([text]), {"explain": True})
        assert len(result["words"]) <= 64
        assert [text[word["start"] : word["end"]] for word in result["words"]] == [w["word"] for w in result["words"]]
        ends = [0, *(word["end"] for word in result["words"])]
        assert all(end <= word["start"] for end, word in zip(ends, result["words"], strict=False))
    [alone] = task.run(rows(["good"]), {"explain": True})
    assert alone["words"] == [] and alone["score"] > 0


def test_an_explanation_is_streamed_in_steps_and_can_be_cancelled(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentiment, "EXPLAINED_AT_ONCE", 4)
    *steps, result = task.stream({"text": LINES[3]}, {"explain": True})
    assert steps == [{"step": number, "steps": len(steps)} for number in range(1, len(steps) + 1)] and len(steps) > 1
    assert result["words"] == task.run(rows([LINES[3]]), {"explain": True})[0]["words"]
    assert len(list(task.stream({"text": LINES[3]}))) == 1

    looks = iter([False, False, False, True])  # two before the text itself is read
    *steps, result = task.stream({"text": LINES[3]}, {"explain": True}, lambda: next(looks))
    assert len(steps) == 1 and len(result["words"]) == 4


def test_an_explanation_of_a_text_that_takes_too_long_is_refused(task: Any) -> None:
    long = "word " * 1000
    assert task.run(rows([long]))[0]["windows"] > sentiment.MAX_EXPLAINED_WINDOWS
    with pytest.raises(TaskInputError, match="tokens; valid: at most about 512 for this model where explain is true"):
        task.run(rows([long]), {"explain": True})
    with pytest.raises(TaskInputError, match="explain is 1; valid: true or false"):
        task.run(rows(["good"]), {"explain": 1})
