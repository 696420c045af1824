"""Stories and next words: the same as transformers' own for model, text and seed; in pieces; stopped; whole words."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tasks.base import TaskInputError
from tasks.engines.next_word import Path, _Beam
from tests.support.tiny_models import LINES

MODELS = ("gpt2", "llama")
PROMPT = "Once upon a time there was"
GREEDY = {"temperature": 0, "max_new_tokens": 12}
NOT_REPEATED = {"seconds", "tokens_per_second"}

Get = Callable[[str, str], Any]


@pytest.fixture(params=MODELS)
def story(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("story-completion", request.param)


@pytest.fixture(params=MODELS)
def next_word(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("next-word-prediction", request.param)


def lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in NOT_REPEATED}


def generated(task: Any, text: str, seed: int, **options: Any) -> str:
    """What `generate` itself writes after a text."""
    prompt = task.engine.tokenizer(text, return_tensors="pt")
    torch.manual_seed(seed)
    tokens = task.engine.model.generate(**prompt, **options)[0]
    before, whole = (
        task.engine.tokenizer.decode(part, skip_special_tokens=True) for part in (prompt["input_ids"][0], tokens)
    )
    return whole[len(before) :]


SETTINGS = [
    {"temperature": 0.7, "top_p": 0.95, "top_k": 50, "seed": 0},
    {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 1},
    {"temperature": 1.7, "top_p": 0.5, "top_k": 7, "seed": 2**32 - 1},
    {"temperature": 0.9, "top_p": 0.9, "top_k": 0, "seed": 5, "repetition_penalty": 1.5},
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 2.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_story_is_what_generate_writes(story: Any, settings: dict[str, Any]) -> None:
    [row] = story.run([{"text": PROMPT}], {"max_new_tokens": 12, **settings})
    given = {name: value for name, value in settings.items() if name not in ("seed", "temperature")}
    sampled = settings["temperature"] > 0
    options = {**given, "do_sample": sampled, **({"temperature": settings["temperature"]} if sampled else {})}
    assert row["completion"] == generated(story, PROMPT, settings.get("seed", 0), max_new_tokens=12, **options)
    assert row["completion"] and row["finish_reason"] in ("length", "stop") and row["tokens"] <= 12
    assert row["prompt_tokens"] == len(story.engine.tokenizer(PROMPT)["input_ids"])


def test_a_seed_gives_the_same_story_in_any_company(story: Any) -> None:
    parameters = {"max_new_tokens": 10, "temperature": 1.5, "seed": 11}
    [alone] = story.run([{"text": PROMPT}], parameters)
    together = story.run([{"text": "The dog"}, {"text": PROMPT}, {"text": PROMPT}], parameters)
    assert together[1]["completion"] == together[2]["completion"] == alone["completion"]
    assert story.run([{"text": PROMPT}], {**parameters, "seed": 12})[0]["completion"] != alone["completion"]


def test_threads_do_not_change_each_others_stories(tiny_task: Get) -> None:
    story = tiny_task("story-completion", "gpt2")
    parameters = [{"max_new_tokens": 10, "temperature": 1.5, "seed": seed} for seed in range(4)]
    expected = [story.run([{"text": PROMPT}], each)[0]["completion"] for each in parameters]
    state = torch.get_rng_state()
    found: dict[int, str] = {}

    def tell(place: int) -> None:
        found[place] = story.run([{"text": PROMPT}], parameters[place])[0]["completion"]

    threads = [threading.Thread(target=tell, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(4)] == expected
    assert len(set(expected)) > 1
    assert torch.equal(torch.get_rng_state(), state)


def test_a_stream_is_the_pieces_and_last_the_row_of_run(story: Any) -> None:
    parameters = {"max_new_tokens": 20, "temperature": 1.0, "seed": 4}
    [row] = story.run([{"text": PROMPT}], parameters)
    *pieces, last = story.stream({"text": PROMPT}, parameters)
    assert lasting(last) == lasting(row)
    assert len(pieces) > 3 and all(list(event) == ["piece"] and event["piece"] for event in pieces)
    assert "".join(event["piece"] for event in pieces) == row["completion"]


@pytest.mark.parametrize("spaces", [" ", "   ", "\t "])
def test_a_space_that_was_typed_already_is_followed_by_a_word(story: Any, spaces: str) -> None:
    [row] = story.run([{"text": "Once upon a time" + spaces}], GREEDY)
    assert row["completion"].startswith("there was a")
    # Behind some of these words a mark is likeliest, and not behind a space.
    texts = [LINES[1][: space.start()] for space in re.finditer(r"(?=[ ,.!])", LINES[1])]
    alone = story.run([{"text": text} for text in texts], GREEDY)
    spaced = story.run([{"text": text + spaces} for text in texts], GREEDY)
    marks = sum(not row["completion"].startswith(" ") for row in alone)
    assert marks or story.model.config.model_type == "llama"  # which has learned no marks
    assert all(row["completion"][0].isalnum() for row in spaced)
    *pieces, last = story.stream({"text": texts[0] + spaces}, GREEDY)
    assert "".join(event["piece"] for event in pieces) == last["completion"] == spaced[0]["completion"]
    [same] = story.run([{"text": PROMPT + "\n"}], GREEDY)
    assert story.run([{"text": PROMPT + "\n" + spaces}], GREEDY)[0]["completion"] == same["completion"].lstrip(" ")


def test_pieces_are_there_while_the_model_writes(story: Any) -> None:
    arrived = threading.Event()
    looks = iter(range(100))
    # After five tokens the model goes on only when the reader has a piece.
    stream = story.stream({"text": PROMPT}, GREEDY, cancel=lambda: next(looks) == 5 and not arrived.wait(60))
    assert next(stream)["piece"]
    arrived.set()
    *_, last = stream
    assert last["finish_reason"] == "length"


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_a_cancelled_story_ends_with_what_there_is(story: Any, looks: int) -> None:
    [whole] = story.run([{"text": PROMPT}], GREEDY)
    left = [False] * looks
    *pieces, row = story.stream({"text": PROMPT}, GREEDY, cancel=lambda: not left or left.pop())
    assert row["finish_reason"] == "cancelled"
    assert row["tokens"] == looks
    assert "".join(event["piece"] for event in pieces) == row["completion"]
    assert whole["completion"].startswith(row["completion"].rstrip("\ufffd"))
    assert lasting(story.run([{"text": PROMPT}], GREEDY)[0]) == lasting(whole), "the model was left in another state"


def test_a_reader_that_goes_away_ends_the_work(story: Any) -> None:
    stream = story.stream({"text": PROMPT}, {**GREEDY, "max_new_tokens": 50})
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "task-stream"]


def test_what_is_wrong_is_said_at_the_call_of_a_stream(story: Any) -> None:
    with pytest.raises(TaskInputError, match="text is empty"):
        story.stream({"text": ""})
    with pytest.raises(TaskInputError, match="unknown parameter 'steps'"):
        story.stream({"text": "a"}, {"steps": 3})


def test_what_goes_wrong_in_the_model_reaches_the_reader(tiny_task: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    story = tiny_task("story-completion", "gpt2")

    def fail(**_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(story.engine.model, "generate", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(story.stream({"text": PROMPT}, GREEDY))


def test_a_stop_string_ends_the_story_before_it(story: Any) -> None:
    [whole] = story.run([{"text": PROMPT}], GREEDY)
    place = len(whole["completion"]) // 2
    stop = whole["completion"][place : place + 3]
    expected = whole["completion"][: whole["completion"].index(stop)]
    escaped = stop.replace("\n", "\\n")
    [row] = story.run([{"text": PROMPT}], {**GREEDY, "stop": f"never there\n{escaped}"})
    assert (row["completion"], row["finish_reason"]) == (expected, "stop")
    assert row["tokens"] < whole["tokens"]
    *pieces, last = story.stream({"text": PROMPT}, {**GREEDY, "stop": escaped})
    assert "".join(event["piece"] for event in pieces) == last["completion"] == expected


def test_the_models_own_end_is_a_stop(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = story.engine.tokenizer(PROMPT, return_tensors="pt")
    written = story.engine.model.generate(**tokens, do_sample=False, max_new_tokens=12)[
        0, tokens["input_ids"].shape[1] :
    ]
    end = int(written[4])
    monkeypatch.setattr(story.engine.model.generation_config, "eos_token_id", [end])
    [row] = story.run([{"text": PROMPT}], GREEDY)
    assert row["finish_reason"] == "stop"
    assert row["tokens"] == written.tolist().index(end)


def test_of_a_text_past_the_window_the_end_counts(story: Any) -> None:
    long = "The dog ran home. " * 40 + PROMPT
    [row] = story.run([{"text": long}], GREEDY)
    assert row["truncated"]
    assert row["prompt_tokens"] == story.window - GREEDY["max_new_tokens"]
    assert not story.run([{"text": PROMPT}], GREEDY)[0]["truncated"]
    [other] = story.run([{"text": "A cat sat. " * 100 + long}], GREEDY)
    assert other["completion"] == row["completion"]


def test_more_than_the_window_cannot_be_asked_for(story: Any) -> None:
    most = story.window - 1
    assert story.run([{"text": PROMPT}], {**GREEDY, "max_new_tokens": most})[0]["tokens"] <= most
    with pytest.raises(TaskInputError, match=f"max_new_tokens is {most + 1}; valid: .* 1 to {most} for this model"):
        story.run([{"text": PROMPT}], {**GREEDY, "max_new_tokens": most + 1})


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
