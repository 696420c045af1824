"""Tokens to pieces of text: together they are the whole text, no character is cut, no stop string is shown."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tasks.engines.decoding import Draw, Reader
from tests.support.tiny_models import LINES

TEXTS = [*LINES, "😀 or 👩‍👩‍👧, naïve café", "שלום עולם! مرحبا", "a\n\n  b\t c", "你好。再见", "ﬁ e\u0301", "x"]


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def tokenizer(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(tiny_folder(request.param))


def read(tokenizer: Any, tokens: list[int], stops: tuple[str, ...] = (), **options: Any) -> tuple[list[str], bool]:
    """The pieces of some tokens, read until a stop string as a generation would be."""
    reader = Reader(tokenizer, stops, **options)
    pieces = []
    for token in tokens:
        pieces.append(reader.feed(token))
        if reader.stopped:
            break
    pieces.append(reader.finish())
    return pieces, reader.stopped


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_make_up_the_text_and_cut_no_character(tokenizer: Any, text: str) -> None:
    tokens = tokenizer.encode(text, add_special_tokens=False)
    whole = tokenizer.decode(tokens, skip_special_tokens=True)
    pieces, _ = read(tokenizer, tokens)
    assert "".join(pieces) == whole
    assert not any("\ufffd" in piece for piece in pieces)


def test_the_first_piece_is_there_with_the_first_token(tokenizer: Any) -> None:
    tokens = tokenizer.encode("Once upon a time", add_special_tokens=False)
    assert Reader(tokenizer).feed(tokens[0]).strip() == tokenizer.decode(tokens[:1]).strip() != ""


def test_bytes_that_are_no_text_are_shown_as_the_tokenizer_shows_them(tiny_folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gpt2"))
    chance = random.Random(0)
    for _ in range(300):
        tokens = [chance.randrange(len(tokenizer)) for _ in range(chance.randint(1, 30))]
        pieces, _ = read(tokenizer, tokens)
        assert "".join(pieces) == tokenizer.decode(tokens, skip_special_tokens=True)


def test_what_continues_a_text_keeps_its_first_space(tokenizer: Any) -> None:
    whole = tokenizer.encode("a cat sat", add_special_tokens=False)
    begin = len(tokenizer.encode("a", add_special_tokens=False))
    assert "".join(read(tokenizer, whole[begin:], continues=True)[0]) == " cat sat"
    assert "".join(read(tokenizer, whole[begin:])[0]) in (" cat sat", "cat sat")


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        (("sat",), "Once the cat "),
        (("cat s",), "Once the "),
        (("zzz", "he c"), "Once t"),
        (("catty", "sat on"), "Once the cat "),
        (("O",), ""),
        (("mat.",), "Once the cat sat on the "),
        (("on the moon",), None),
    ],
)
def test_it_ends_before_a_stop_string_wherever_tokens_begin(
    tokenizer: Any, stops: tuple[str, ...], expected: str | None
) -> None:
    text = "Once the cat sat on the mat."
    tokens = tokenizer.encode(text, add_special_tokens=False)
    pieces, stopped = read(tokenizer, tokens, stops)
    assert "".join(pieces) == (text if expected is None else expected)
    assert stopped == (expected is not None)


def test_only_what_may_become_a_stop_string_is_held_back(tiny_folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gpt2"))
    reader = Reader(tokenizer, ("abX",))
    letters = [tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "zababq"]
    assert [reader.feed(token) for token in letters] == ["z", "", "", "ab", "", "abq"]
    assert reader.finish() == ""
    reader.feed(letters[1])
    assert reader.finish() == "a"


def test_a_stop_string_in_what_was_held_back_at_the_end_counts(tiny_folder: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gpt2"))
    tokens = tokenizer.encode("ok 😀", add_special_tokens=False)[:-1]
    pieces, stopped = read(tokenizer, tokens, ("\ufffd",))
    assert "".join(pieces) == "ok " and stopped


def scores(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 3


SETTINGS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 3}


def drawn(**changes: Any) -> list[int]:
    """The tokens of twenty draws."""
    draw = Draw({**SETTINGS, **changes}, torch.device("cpu"))
    results = [draw(torch.zeros(1, 1, dtype=torch.long), scores()) for _ in range(20)]
    assert all((result > -torch.inf).sum() == 1 for result in results)
    return [int(result.argmax()) for result in results]


def test_a_draw_depends_on_its_seed_alone() -> None:
    torch.manual_seed(5)
    first = drawn()
    torch.rand(100)
    assert drawn() == first
    assert drawn(seed=4) != first
    assert len(set(first)) > 1


def test_a_draw_leaves_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    drawn()
    assert torch.equal(torch.get_rng_state(), before)


def test_temperature_top_k_and_top_p_narrow_what_is_drawn() -> None:
    ranking = scores()[0].argsort(descending=True).tolist()
    assert set(drawn(top_k=1)) == set(drawn(top_p=0.0)) == set(drawn(temperature=0.01)) == {ranking[0]}
    assert set(drawn(top_k=3, temperature=5.0)) <= set(ranking[:3])
    assert len(set(drawn(temperature=5.0))) > len(set(drawn(temperature=0.5)))
