"""Many rows, or one long one, whose caller has given up: no model continues with them."""

from collections.abc import Callable
from typing import Any

import pytest

from tasks.base import TaskStopped
from tasks.runtime.rows import RequestTask, work
from tests.support.tiny_models import LINES
from tests.support.words import Countdown

TEXT = " ".join(LINES * 60)
Get = Callable[[str, str], Any]
CASES = {
    "many texts": ("sentiment-analysis", "distilbert-sentiment", [{"text": LINES[0]}] * 300),
    "long texts": ("sentiment-analysis", "distilbert-sentiment", [{"text": TEXT}] * 20),
    "a long text": ("sentiment-analysis", "distilbert-sentiment", {"text": TEXT}),
    "a long context": ("question-answering", "distilbert-qa", {"question": "Who?", "context": TEXT}),
    "contexts": ("question-answering", "distilbert-qa", [{"question": "Who?", "context": LINES[0]}] * 100),
    "next words": ("next-word-prediction", "gpt2", [{"text": LINES[0]}] * 20),
    "stories": ("story-completion", "gpt2", [{"text": LINES[0]}] * 20, {"max_new_tokens": 4}),
    "summaries": ("summarization", "t5", [{"text": LINES[0]}] * 20, {"max_length": 8, "num_beams": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_work_ends_at_the_next_look(case: str, tiny_task: Get) -> None:
    name, model, rows, *parameters = CASES[case]
    task = RequestTask(tiny_task(name, model))
    asked = work(rows if isinstance(rows, list) else [rows], many=isinstance(rows, list))
    calls = 0

    def called(*_: Any) -> None:
        nonlocal calls
        calls += 1

    handle = getattr(task.task, "engine", task.task).model.register_forward_hook(called)
    try:
        whole = Countdown(10**9)
        list(task.stream(asked, *(parameters or [{}]), whole))
        looks, all_calls = 10**9 - whole.left, calls
        assert looks >= all_calls / 3 >= 1  # between batches
        calls = 0
        given_up = Countdown(min(looks, all_calls) // 2)
        try:
            *_, last = task.stream(asked, *(parameters or [{}]), given_up)
        except TaskStopped:
            last = {}
        assert calls <= all_calls / 2 + 3
        assert len(last.get("rows", ())) < len(asked["rows"])
    finally:
        handle.remove()
