"""What people and programs send to the text tasks: each bad input is refused in one sentence that names its field."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from tasks import TASKS, task_class
from tasks.base import Task, TaskInputError
from tasks.engines.pretrained import unknown_parts
from tests.support.tiny_models import TASK_MODELS

Get = Callable[[str, str], Task]
CASES = [(task, model) for task, models in TASK_MODELS.items() for model in models]
FIELDS = [(task, column) for task in TASK_MODELS for column in task_class(task).texts]  # pyright: ignore
QUICK: dict[str, dict[str, Any]] = {
    "story-completion": {"max_new_tokens": 3},
    "chatbot": {"max_new_tokens": 3},
    "summarization": {"max_length": 3, "num_beams": 1},
}


def row_with(task: str, text: Any) -> dict[str, Any]:
    """A row of a task with the same content in all places for text."""
    if task == "chatbot":
        return {"messages": [{"role": "user", "content": text}]}
    return dict.fromkeys(task_class(task).inputs, text)


def test_every_text_task_is_tried_here() -> None:
    others = {"image-generation", "image-classification", "sequence-reversal"}
    assert set(TASK_MODELS) == set(TASKS) - others


BAD_TEXTS = [
    ("", "is empty"),
    (" \n\t\u00a0\u2028", "is only white space"),
    ("a" * (2**20 + 1), "has 1048577 characters"),
    ("й" * 2**20, "has 2097152 bytes"),
    ("one\0two", "has a NUL at character 4"),
    ("one \ud83d two", "has half of a surrogate pair at character 5"),
    (3, "is 3; valid: text"),
    (2.5, "is 2.5; valid: text"),
    (True, "is True; valid: text"),
    (float("nan"), "is empty .nan.; "),
    (b"bytes", "is b'bytes'; valid: text"),
    (["a", "list"], r"is \['a', 'list'\]; valid: text"),
    ({"an": "object"}, "is {'an': 'object'}; valid: text"),
    (np.array(["a"]), "is array.*; valid: text"),
]


@pytest.mark.parametrize(("text", "fault"), BAD_TEXTS, ids=[fault[:25] for _, fault in BAD_TEXTS])
@pytest.mark.parametrize(("task", "field"), [*FIELDS, ("chatbot", "messages[0].content")], ids=str)
def test_a_bad_text_is_refused_by_its_fields_name(tiny_task: Get, task: str, field: str, text: Any, fault: str) -> None:
    row = row_with(task, "fine")
    if task == "chatbot":
        row = row_with(task, text)
    else:
        row[field] = text
    model = tiny_task(task, TASK_MODELS[task][0])
    if task == "chatbot":
        fault = fault.replace("is empty .nan.", "is nan")  # within a list nothing is missing
    fault = f"{re.escape(field)} {fault}"
    for send, said in (
        (lambda: model.run([row_with(task, "fine"), row]), f"^row 2 of 2: {fault}"),
        (lambda: model.stream(row), f"^{fault}"),
    ):
        with pytest.raises(TaskInputError, match=said) as e:
            send()
        assert len(str(e.value)) < 200 and "\n" not in str(e.value)


@pytest.mark.parametrize("task", TASK_MODELS)
def test_a_missing_column_is_named(tiny_task: Get, task: str) -> None:
    model = tiny_task(task, TASK_MODELS[task][0])
    for column in model.inputs:
        for row in ({**row_with(task, "fine"), column: None}, {}, {"wrong": "a"}):
            said = f"{column} is empty .None." if column in row else f"column '{next(iter(model.inputs))}' is missing"
            with pytest.raises(TaskInputError, match=f"^{said}; {task} takes "):
                model.run([row])


@pytest.mark.parametrize("task", TASKS)
def test_every_number_among_the_parameters_has_bounds(task: str) -> None:
    for name, spec in task_class(task).parameters.specs().items():
        assert spec["type"] in ("string", "boolean") or {"minimum", "maximum"} <= spec.keys(), name


@pytest.mark.parametrize("task", TASK_MODELS)
def test_an_unknown_parameter_is_refused_with_those_there_are(tiny_task: Get, task: str) -> None:
    for send in (Task.run, lambda model, rows, parameters: model.stream(rows[0], parameters)):
        with pytest.raises(TaskInputError, match=r"unknown parameter 'max_tokens'; .*valid: "):
            send(tiny_task(task, TASK_MODELS[task][0]), [row_with(task, "fine")], {"max_tokens": 3})


GOOD_TEXTS = [
    "😀 👩‍👩‍👧 🇩🇪",
    "שלום עולם, مرحبا بالعالم",
    "你好，世界。",
    "e\u0301\u0327 Z\u0351\u036b\u0343\u036a",
    "\u202eright to left\u202c",
    "\x07\x1b[31m bell and color",
    "\u200b",
    "\ufeffa",
    "<s> </s> <|endoftext|> [CLS] [MASK] <pad>",
    "{{ 7 * 7 }} {% raise %} %s {0}",
    "!" * 500,
    "word " * 700,
    np.str_("a kind of str"),
]


@pytest.mark.parametrize("text", GOOD_TEXTS, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize(("task", "model"), CASES)
def test_any_other_text_is_answered_or_refused_readably(tiny_task: Get, task: str, model: str, text: str) -> None:
    try:
        [row] = tiny_task(task, model).run([row_with(task, text)], QUICK.get(task))
    except TaskInputError as error:
        assert "; valid: " in str(error) and len(str(error)) < 300
        # Only these may be refused: what some tokenizers drop whole, and what a window cannot hold.
        past_window = len(text) >= 500 and task in ("chatbot", "summarization")
        assert text == "\u200b" or past_window or str(error).startswith("question has ")
        return
    assert json.loads(json.dumps(row)) == row, "not what JSON can carry"
    assert row["model"] == model and row["seconds"] >= 0 and row["tokens"] >= 0


@pytest.mark.parametrize("unit", ["a", "word and sentence. "])
@pytest.mark.parametrize("task", TASK_MODELS)
def test_a_megabyte_of_text_takes_bounded_time(tiny_task: Get, task: str, unit: str) -> None:
    text = unit * (2**20 // len(unit.encode()))
    row = row_with(task, text)
    if "question" in row:
        row["question"] = "Why?"
    started = time.process_time()
    try:
        tiny_task(task, TASK_MODELS[task][0]).run([row], QUICK.get(task))
    except TaskInputError as error:
        assert "; valid: " in str(error)
    assert time.process_time() - started < 30


@pytest.mark.parametrize(("task", "model"), CASES)
def test_what_a_tokenizer_does_not_know_is_named(tiny_task: Get, task: str, model: str) -> None:
    loaded: Any = tiny_task(task, model)
    # The others write any text as bytes.
    has_unknown = {"distilbert": ["☃", "😡"], "t5": ["☃", "😡"]}.get(model.split("-")[0])
    known, row = loaded.run([row_with(task, "The cat sat."), row_with(task, "The ☃ 😡 sat. ☃")], QUICK.get(task))
    assert "unknown" not in known and row.get("unknown") == has_unknown
    *_, last = loaded.stream(row_with(task, "The ☃ 😡 sat. ☃"), QUICK.get(task))
    assert last.get("unknown") == has_unknown


def test_what_is_unknown_is_named_in_short(tiny_task: Get) -> None:
    loaded: Any = tiny_task("sentiment-analysis", "distilbert-sentiment")
    many = " ".join(chr(0x2600 + number) for number in range(50))
    [long, several] = loaded.run([{"text": "a" * 5000}, {"text": f"[UNK] {many}"}])
    assert long["unknown"] == ["a" * 57 + "..."]
    assert len(several["unknown"]) == 20 and "[UNK]" not in several["unknown"]


def test_letters_without_a_token_are_unknown() -> None:
    # As a byte-pair tokenizer without a token for the unknown drops what its alphabet lacks.
    tokenizer = Mock(unk_token=None, unk_token_id=None)
    tokenizer.return_value = {"input_ids": [5, 6], "offset_mapping": [(0, 3), (7, 11)]}
    assert unknown_parts(tokenizer, "The Ж😡  sat\u0301. é") == ["Ж😡", "é"]


def test_rows_of_a_table_are_taken_as_they_are(tiny_task: Get) -> None:
    table = pd.DataFrame({"text": pd.array(["good", "bad"], dtype="string")})
    assert len(tiny_task("sentiment-analysis", "distilbert-sentiment").run(table.to_dict("records"))) == 2  # pyright: ignore


@pytest.mark.parametrize("task", TASK_MODELS)
def test_a_model_answers_one_thread_at_a_time(tiny_task: Get, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tokenizer that two threads ask at once cuts off the one's text as the other wants it: silently, and not often.
    loaded: Any = tiny_task(task, TASK_MODELS[task][0])
    busy, overlaps = RLock(), []  # it may ask itself again
    tokenizer = getattr(loaded, "engine", loaded).tokenizer
    encode = tokenizer._encode_plus

    def watched(*args: Any, **options: Any) -> Any:
        alone = busy.acquire(blocking=False)
        overlaps.append(not alone)
        time.sleep(0.01)
        try:
            return encode(*args, **options)
        finally:
            if alone:
                busy.release()

    monkeypatch.setattr(tokenizer, "_encode_plus", watched)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: loaded.run([row_with(task, "good film")], QUICK.get(task)), range(4)))
    assert len(overlaps) >= 4 and not any(overlaps)
