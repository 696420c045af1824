"""The next word: whole words, with the probability of all their token sequences together."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tasks.engines.next_word import Path, _Beam

PROMPT = "Once upon a time there was"


@pytest.fixture(params=["gpt2", "llama"])
def next_word(request: pytest.FixtureRequest, tiny_task: Callable[[str, str], Any]) -> Any:
    return tiny_task("next-word-prediction", request.param)


ENDED = re.compile(r"\s+(\w+(?:['’]\w+)*)(?:[^\w'’\ufffd]|['’][^\w\ufffd])")


def probability(
    task: Any, prompt: list[int], pieces: list[str], word: str, left: int, said: str = "", so_far: float = 1.0
) -> float:
    """That a word follows a prompt and ends: all sequences of at most four tokens, by whole passes without a cache.

    Args: pieces: what each token says; left: how many more tokens; said and so_far: what was said after the text, and
    with which probability.
    """
    with torch.no_grad():
        following = task.engine.model(torch.tensor([prompt])).logits[0, -1].double().softmax(dim=-1).tolist()
    total = 0.0
    for token, share in enumerate(following):
        after = said + pieces[token]
        ended = ENDED.match(after)
        if after == said:  # a token without text is an end
            total += share if said.strip() == word and said[0].isspace() else 0.0
        elif ended:
            total += share if ended[1] == word else 0.0
        elif left and so_far * share > 1e-6 and after[0].isspace() and f"{word}'".startswith(after.lstrip()):
            total += share * probability(task, [*prompt, token], pieces, word, left - 1, after, so_far * share)
    return total


def test_a_words_probability_is_that_of_all_its_token_sequences(next_word: Any) -> None:
    [row] = next_word.run([{"text": "The little dog"}], {"top_k": 30})
    assert len(row["candidates"]) == 30
    prompt = next_word.engine.tokenizer("The little dog")["input_ids"]
    known = len(next_word.engine.tokenizer)
    pieces = [next_word.engine.texts_of([(token,)])[0] if token < known else "" for token in range(known + 3)]
    for candidate in row["candidates"][:3]:
        expected = probability(next_word, prompt, pieces, candidate["word"], left=3)
        # Sequences less probable than the thirtieth word are not followed.
        assert expected * 0.95 < candidate["probability"] <= expected * 1.0001


def test_words_are_whole_sorted_and_as_many_as_asked_for(next_word: Any) -> None:
    for top_k in (1, 3, 10):
        [row] = next_word.run([{"text": PROMPT}], {"top_k": top_k})
        words = [candidate["word"] for candidate in row["candidates"]]
        shares = [candidate["probability"] for candidate in row["candidates"]]
        assert len(words) == top_k == len(set(words))
        assert row["next_word"] == words[0]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
        assert all(
            word.strip("'’").replace("'", "").replace("’", "").isidentifier() or word.isalnum() for word in words
        )
    assert row["tokens"] == len(next_word.engine.tokenizer(PROMPT)["input_ids"])


def test_after_a_space_the_words_are_given_that_space(next_word: Any) -> None:
    [without] = next_word.run([{"text": PROMPT}])
    [with_space] = next_word.run([{"text": PROMPT + " "}])
    ratios = [
        after["probability"] / before["probability"]
        for before, after in zip(without["candidates"], with_space["candidates"], strict=True)
        if before["word"] == after["word"]
    ]
    assert len(ratios) >= 3 and ratios[0] > 1
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


def test_many_paths_are_tried_in_batches_with_the_same_result(next_word: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    [together] = next_word.run([{"text": PROMPT}])
    monkeypatch.setattr("tasks.engines.causal.CACHE_BYTES", 1)
    [one_by_one] = next_word.run([{"text": PROMPT}])
    assert [c["word"] for c in one_by_one["candidates"]] == [c["word"] for c in together["candidates"]]
    shares = [[c["probability"] for c in row["candidates"]] for row in (together, one_by_one)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)


@pytest.mark.parametrize("text", ["(", '"', "a\n", "你好", "שלום", "x " * 300, "don'", "3", "😀"])
def test_any_text_has_a_next_word(next_word: Any, text: str) -> None:
    [row] = next_word.run([{"text": text}])
    assert row["truncated"] == (len(text) > 100)
    assert row["tokens"] <= next_word.window
    assert 0 <= sum(candidate["probability"] for candidate in row["candidates"]) <= 1


@pytest.mark.parametrize(
    ("text", "glued", "expected"),
    [
        (" mat", False, ("mat", "")),
        (" mat on", False, ("mat", " on")),
        (" mat.", False, ("mat", ".")),
        ("mat", False, (None, "")),
        ("mat", True, ("mat", "")),
        (" ", False, ("", "")),
        ("", False, ("", "")),
        (" don'", False, ("don", "")),
        (" don't", False, ("don't", "")),
        (" dogs' ", False, ("dogs", "' ")),
        (" caf\ufffd", False, ("caf", "")),
        ("\ufffd", False, ("", "")),
        (" \ufffd", False, ("", "")),
        (".", True, (None, "")),
        (" 'tis", False, (None, "")),
        ("你好", False, ("你好", "")),
        (" 你好a", False, ("你好", "a")),
        (" a你", False, ("a", "你")),
        ("\nNew", False, ("New", "")),
        (" 3.5", False, ("3", ".5")),
    ],
)
def test_words_are_told_from_what_is_around_them(text: str, glued: bool, expected: tuple[str | None, str]) -> None:
    assert _Beam(Any, glued, 1)._split(text) == expected


def test_a_word_has_the_probability_of_all_its_sequences_together() -> None:
    beam = _Beam(Any, False, 1)
    paths = [
        Path((1,), " cat", 0.5),
        Path((2, 3), " cat", 0.25),
        Path((4,), " caf\ufffd", 0.125),
        Path((5,), " ", 0.125),
    ]
    for path, share in zip(paths, [0.5, 1.0, 1.0, 1.0], strict=True):
        beam.end(path, share)
    assert beam.words == {"cat": 0.5}
