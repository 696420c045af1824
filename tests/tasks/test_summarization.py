"""Summaries: as generate writes them; long texts in parts that fit; in pieces; cancelled."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tasks.base import TaskInputError
from tasks.engines import summaries
from tests.support.tiny_models import LINES

SHORT = "The little dog ran home."
LONG = " ".join([LINES[0], LINES[1], LINES[3]] * 2)
Get = Callable[[str, str], Any]


@pytest.fixture(params=["bart", "t5"])
def task(request: pytest.FixtureRequest, tiny_task: Get) -> Any:
    return tiny_task("summarization", request.param)


def prefix(task: Any) -> str:
    return "summarize: " if task.model.config.model_type == "t5" else ""


@pytest.mark.parametrize("settings", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 2, "min_length": 8}], ids=str)
def test_a_summary_is_what_generate_writes(task: Any, settings: dict[str, int]) -> None:
    [row] = task.run([{"text": SHORT}], {"max_length": 12, **settings})
    tokens = task.tokenizer(prefix(task) + SHORT, return_tensors="pt")
    written = task.model.generate(
        **tokens,
        max_new_tokens=12,
        min_new_tokens=settings.get("min_length", 0),
        num_beams=settings["num_beams"],
        no_repeat_ngram_size=3,
        do_sample=False,
    )
    expected = task.tokenizer.decode(written[0], skip_special_tokens=True).strip()
    assert row["summary"] == expected != ""
    assert row["chunks"] == 1 and row["prompt_tokens"] == tokens["input_ids"].shape[1]
    assert 0 < row["tokens"] <= 12 and row["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_long_text_is_summarized_in_parts_that_fit(
    task: Any, num_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"max_length": 6, "num_beams": num_beams}
    read = []
    generate = task.model.generate

    def watched(**options: Any) -> Any:
        read.append(task.tokenizer.decode(options["input_ids"][0], skip_special_tokens=True))
        assert options["input_ids"].shape[1] <= task.window
        return generate(**options)

    monkeypatch.setattr(task.model, "generate", watched)
    [row] = task.run([{"text": LONG}], parameters)
    assert row["chunks"] == len(read) > 1
    parts = [part.removeprefix(prefix(task)) for part in read]
    # What the tokenizer does not know is lost in its decoding; BART's knows every byte.
    assert prefix(task) or "".join(parts) == LONG
    monkeypatch.undo()
    alone = [task.run([{"text": part}], parameters)[0]["summary"] for part in parts]
    assert row["summary"] == " ".join(filter(None, alone)).strip()


def test_parts_end_with_sentences(tiny_task: Get) -> None:
    task = tiny_task("summarization", "bart")
    parts = task.pipeline.parts("One two three four. " * 30)
    texts = [task.tokenizer.decode(part["input_ids"], skip_special_tokens=True) for part in parts]
    assert len(texts) > 3
    assert all(text.startswith("One") and text.rstrip().endswith("four.") for text in texts)


@pytest.mark.parametrize("num_beams", [1, 2])
@pytest.mark.parametrize("text", [SHORT, LONG], ids=["short", "long"])
def test_a_stream_makes_up_the_summary(task: Any, num_beams: int, text: str) -> None:
    parameters = {"max_length": 8, "num_beams": num_beams}
    [row] = task.run([{"text": text}], parameters)
    *pieces, last = task.stream({"text": text}, parameters)
    assert "".join(event["piece"] for event in pieces) == last["summary"] == row["summary"]
    assert last["summary"] == last["summary"].strip()
    assert len(pieces) > 1 if num_beams == 1 else len(pieces) <= last["chunks"]


def test_pieces_are_there_while_the_model_writes(tiny_task: Get) -> None:
    task = tiny_task("summarization", "bart")
    arrived = threading.Event()
    looks = iter(range(1000))
    stream = task.stream(
        {"text": SHORT}, {"num_beams": 1, "max_length": 12}, cancel=lambda: next(looks) == 8 and not arrived.wait(60)
    )
    assert next(stream)["piece"]
    arrived.set()
    *_, last = stream
    assert last["finish_reason"] != "cancelled"


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("looks", [0, 3])
def test_a_cancelled_summary_ends_with_what_there_is(task: Any, num_beams: int, looks: int) -> None:
    left = [False] * looks
    parameters = {"max_length": 20, "num_beams": num_beams}
    *pieces, row = task.stream({"text": LONG}, parameters, cancel=lambda: not left or left.pop())
    assert row["finish_reason"] == "cancelled"
    assert row["tokens"] <= looks
    assert "".join(event["piece"] for event in pieces) == row["summary"]


def test_compression_is_the_share_of_words_that_are_left(task: Any) -> None:
    [row] = task.run([{"text": LONG}], {"max_length": 10})
    assert row["compression"] * len(LONG.split()) == pytest.approx(len(row["summary"].split()), abs=len(row["summary"]))
    [none] = task.run([{"text": "!!!"}], {"max_length": 3})
    assert none["compression"] >= 0


def test_lengths_that_contradict_each_other_are_refused(task: Any) -> None:
    with pytest.raises(TaskInputError, match="min_length is 20; valid: at most max_length, which is 10"):
        task.run([{"text": SHORT}], {"min_length": 20, "max_length": 10})
    with pytest.raises(TaskInputError, match=f"max_length is 500; valid: .* 1 to {task.window - 2} for this model"):
        task.run([{"text": SHORT}], {"max_length": 500})


def test_a_text_of_too_many_parts_is_refused(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MAX_PARTS", 2)
    with pytest.raises(TaskInputError, match=r"text has \d+ tokens; valid: at most \d+ for this model"):
        task.run([{"text": LONG * 3}], {"max_length": 5})


def test_a_models_own_settings_for_summaries_are_used(tiny_task: Get) -> None:
    for model in ("bart", "t5"):
        assert tiny_task("summarization", model).model.generation_config.no_repeat_ngram_size == 3
