"""Summaries made of a text's own sentences: which are taken, where they stand, long texts, streams, refusals."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tasks.base import ModelFolderError, TaskInputError
from tasks.engines.sentences import choose, read_part, sentence_scores
from tasks.texts import count_words
from tests.support.tiny_models import LINES, WIDTH, opened, word_piece

SHORT = "The little dog ran home."
LONG = " ".join([LINES[0], LINES[1], LINES[2], LINES[3]])


def save_scorer(folder: Path, labels: int = 1) -> Path:
    """A tiny encoder with a score for each token, or several."""
    tokenizer = word_piece(model_max_length=40)
    width: Any = WIDTH
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=40,
        initializer_range=0.3,
        **width,
        id2label={number: str(number) for number in range(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        transformers.BertForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(save_scorer(tmp_path_factory.mktemp("scorer")), "summarization")


def test_a_summary_is_sentences_of_the_text_in_its_order(task: Any) -> None:
    [row] = task.run([{"text": LONG}])
    places = [(one["start"], one["end"]) for one in row["sentences"]]
    assert places == sorted(places) and len(places) >= 1
    assert row["summary"] == " ".join(LONG[start:end] for start, end in places)
    assert all(LONG[start:end] == LONG[start:end].strip() for start, end in places)
    assert row["finish_reason"] == "stop" and row["chunks"] > 1
    assert row["compression"] == count_words(row["summary"]) / count_words(LONG)
    assert row["tokens"] == len(task.tokenizer(row["summary"], add_special_tokens=False)["input_ids"])
    assert row["prompt_tokens"] == sum(len(task.tokenizer(part)["input_ids"]) for part in parts(task, LONG))


def parts(task: Any, text: str) -> list[str]:
    found = task.pipeline.parts(text)
    return [text[part["sentences"][0][0] : part["sentences"][-1][1]] for part in found]


def test_the_sentence_with_the_highest_mean_is_taken(task: Any) -> None:
    text = "The cat sat. The dog ran home very happy. Who looked at the moon?"
    tokens = task.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    offsets = tokens.pop("offset_mapping")[0].tolist()
    logits = task.model(**tokens).logits[0, :, 0].tolist()
    borders = [0, text.index("The dog"), text.index("Who"), len(text)]
    means = []
    for start, end in pairwise(borders):
        own = [score for score, (first, last) in zip(logits, offsets, strict=True) if start <= first < last <= end]
        means.append(sum(own) / len(own))
    best = means.index(max(means))
    [row] = task.run([{"text": text}])
    # A quarter of the text is less than any of them: there is one.
    assert row["summary"] == text[borders[best] : borders[best + 1]].strip()
    total = sum(torch.tensor(means).exp().tolist())
    assert row["sentences"][0]["score"] == pytest.approx(torch.tensor(means).exp().tolist()[best] / total, rel=1e-4)


def test_every_part_of_a_long_text_is_read_within_the_window(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(["Once upon a time there was a cat.", "It ran home.", "The little dog looked."] * 8)
    read = []
    forward = task.model.forward
    monkeypatch.setattr(
        task.model, "forward", lambda **inputs: read.append(inputs["input_ids"].shape[1]) or forward(**inputs)
    )
    [row] = task.run([{"text": text}])
    assert len(read) == row["chunks"] > 3 and max(read) <= task.window
    assert sum(read) == row["prompt_tokens"]
    # Each part gives at least one sentence.
    assert len(row["sentences"]) >= row["chunks"]


def test_a_stream_has_a_piece_for_each_sentence(task: Any) -> None:
    text = LONG + "\n\n" + LONG
    *pieces, last = task.stream({"text": text})
    assert len(pieces) == len(last["sentences"]) > 2
    assert "".join(event["piece"] for event in pieces) == last["summary"]
    [row] = task.run([{"text": text}])
    assert row["summary"] == last["summary"] and row["sentences"] == last["sentences"]


@pytest.mark.parametrize("looks", [0, 2])
def test_it_is_cancelled_between_parts(task: Any, looks: int) -> None:
    left = [False] * looks
    text = " ".join([LONG] * 3)
    *pieces, row = task.stream({"text": text}, cancel=lambda: not left or left.pop())
    assert row["finish_reason"] == "cancelled" and row["chunks"] > 3
    assert "".join(event["piece"] for event in pieces) == row["summary"]
    assert bool(row["summary"]) == bool(looks)
    assert len({place for one in row["sentences"] for place in [one["start"]]}) == len(pieces)


def test_beams_change_nothing(task: Any) -> None:
    [one], [other] = (task.run([{"text": LONG}], {"num_beams": beams}) for beams in (1, 8))
    assert one["summary"] == other["summary"] and one["sentences"] == other["sentences"]


@pytest.mark.parametrize("most", [1, 2, 5, 8])
def test_a_summary_is_not_longer_than_asked(task: Any, most: int) -> None:
    [row] = task.run([{"text": "The little dog did not like the rain at home."}], {"max_length": most})
    assert 0 < row["tokens"] <= most and row["finish_reason"] == "length"
    assert "The little dog did not like the rain at home.".startswith(row["summary"])
    assert row["sentences"][0]["start"] == 0 and row["sentences"][0]["end"] == len(row["summary"])


def test_a_summary_is_as_long_as_asked(task: Any) -> None:
    text = "The cat sat. The dog ran home. Who looked at the moon? It was happy."
    [few], [more] = (task.run([{"text": text}], {"min_length": least}) for least in (0, 18))
    assert few["tokens"] < 18 <= more["tokens"] and more["finish_reason"] == "stop"
    assert {one["start"] for one in few["sentences"]} < {one["start"] for one in more["sentences"]}
    [same] = task.run([{"text": text}], {"min_length": 38, "max_length": 38})
    assert same["summary"] == text


@pytest.mark.parametrize("text", ["x", "!!!", "No end", "One.\n\n\nTwo.", " \n The cat. \n "])
def test_texts_of_any_kind_have_a_summary(task: Any, text: str) -> None:
    [row] = task.run([{"text": text}])
    assert row["summary"] and row["summary"] in text


def test_wrapped_lines_are_one_sentence_in_one_line(task: Any) -> None:
    wrapped = "The little\ndog ran\n  home. The cat\nsat."
    [row] = task.run([{"text": wrapped}], {"min_length": 10})
    *pieces, _ = task.stream({"text": wrapped}, {"min_length": 10})
    assert row["summary"] == "".join(event["piece"] for event in pieces) == "The little dog ran home. The cat sat."


def test_a_text_without_anything_that_the_model_sees_has_an_empty_summary(task: Any) -> None:
    [row] = task.run([{"text": "\u200b\u200d"}])
    assert row["summary"] == "" and row["sentences"] == [] and row["tokens"] == 0


def test_a_classifier_of_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="distinguishes 9 classes of tokens; valid: a model"):
        opened(save_scorer(tmp_path, labels=9), "summarization")


def test_lengths_are_not_bound_by_the_window_but_by_each_other(task: Any) -> None:
    [row] = task.run([{"text": SHORT}], {"max_length": 1024})
    assert row["summary"] == SHORT and row["finish_reason"] == "stop"
    with pytest.raises(TaskInputError, match="min_length is 20; valid: at most max_length"):
        task.run([{"text": SHORT}], {"min_length": 20, "max_length": 10})


# What is chosen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "sizes", "most", "least", "expected"),
    [
        # A quarter of 40 tokens are 10: the best alone, or with a second one if that comes nearer.
        ([0.1, 0.6, 0.3], [10, 10, 20], 100, 0, {1: 10}),
        ([0.1, 0.6, 0.2, 0.1], [10, 6, 6, 18], 100, 0, {1: 6, 2: 6}),
        ([0.1, 0.6, 0.2, 0.1], [10, 6, 9, 15], 100, 0, {1: 6}),
        # There is always one, however long.
        ([0.9, 0.1], [39, 1], 100, 0, {0: 39}),
        # As long as asked.
        ([0.1, 0.6, 0.3], [10, 10, 20], 100, 11, {1: 10, 2: 20}),
    ],
)
def test_the_best_sentences_make_up_about_a_quarter(
    scores: list[float], sizes: list[int], most: int, least: int, expected: dict[int, int]
) -> None:
    assert choose(scores, sizes, most, least) == (expected, False)


def test_what_does_not_fit_is_left_out_or_cut() -> None:
    assert choose([0.6, 0.3, 0.1], [8, 9, 43], 10, 0) == ({0: 8}, True)
    assert choose([0.6, 0.3, 0.1], [8, 9, 43], 10, 10) == ({0: 8, 1: 2}, True)
    assert choose([0.6, 0.3, 0.1], [8, 9, 43], 5, 0) == ({0: 5}, True)


def test_scores_are_a_softmax_over_means_of_tokens() -> None:
    owners = torch.tensor([-1, 0, 0, 1, 1, 1, -1])
    logits = torch.tensor([9.0, 1.0, 3.0, 0.0, 0.0, 3.0, 9.0])
    expected = torch.tensor([2.0, 1.0]).softmax(dim=0)
    assert torch.allclose(sentence_scores(logits, owners, 2), expected)


def test_a_part_knows_where_its_sentences_stand_in_the_whole_text() -> None:
    tokenizer = word_piece(model_max_length=40)
    text = 'Nothing here. "The cat sat."  The dog ran.\n'
    start = len("Nothing here. ")
    part = read_part(text[start:], start, tokenizer)
    assert [text[begin:end] for begin, end in part["sentences"]] == ['"The cat sat."', "The dog ran."]
    for number, places in enumerate(part["tokens"]):
        begin, end = part["sentences"][number]
        assert all(begin <= part["offsets"][place][0] < part["offsets"][place][1] <= end for place in places)
        assert (part["owners"][places] == number).all()
    assert (part["owners"] >= 0).sum() == sum(map(len, part["tokens"])) == len(part["owners"]) - 2
