"""Stories and next words: the same as transformers' own for model, text and seed; in pieces; stopped; whole words."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tasks.base import TaskInputError
from tasks.engines.generation import MAX_NEW_TOKENS
from tests.support.tiny_models import LINES

MODELS = ("gpt2", "llama")
PROMPT = "Once upon a time there was"
GREEDY = {"temperature": 0, "max_new_tokens": 12}
NOT_REPEATED = {"seconds", "tokens_per_second"}

Get = Callable[[str, str], Any]


@pytest.fixture(params=MODELS)
def story(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("story-completion", request.param)


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
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda each: story.run([{"text": PROMPT}], each)[0]["completion"], parameters))
    assert found == expected
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
    assert marks or story.engine.model.config.model_type == "llama"  # which has learned no marks
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


def test_half_a_window_of_text_is_read_whole_however_much_may_be_written(story: Any) -> None:
    text = "The dog ran home. " * 2 + PROMPT
    read = story.run([{"text": text}], GREEDY)[0]["prompt_tokens"]
    for most in (story.window - 1, MAX_NEW_TOKENS):
        [row] = story.run([{"text": text}], {**GREEDY, "max_new_tokens": most})
        assert (row["prompt_tokens"], row["truncated"]) == (read, False)
        assert row["tokens"] <= story.window - read
    assert story.limits() == {"max_new_tokens": story.window - 1}
