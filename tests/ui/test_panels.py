"""What panels draw of texts by people and models: in its place, and inert."""

import pytest

from tasks import TASKS, TaskRecord
from ui.panels import panel
from ui.panels.chat import read_messages
from ui.panels.next_word import appended
from ui.panels.question_answering import context_html, describe_answer, moved
from ui.panels.sentiment import words_html

HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_panel_whose_examples_are_valid_rows(task: str) -> None:
    from ui.answers.answering import check

    one = panel(task)
    assert one.task == task
    for example in (*one.examples, *one.starter_examples):
        check(task, example.row, {})


@pytest.mark.parametrize("task", TASKS)
def test_a_starter_has_examples_of_what_it_knows_where_there_are_such(task: str) -> None:
    one = panel(task)
    assert one.examples_for(starter=False) == one.examples
    assert one.examples_for(starter=True) == (one.starter_examples or one.examples)
    assert bool(one.starter_examples) == (task == "image-generation")


def test_a_task_that_nobody_made_a_panel_for_has_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "words", TaskRecord("tests.support.words:Words"))
    assert type(panel("words")).__name__ == "Panel" and list(panel("words").inputs) == ["text"]


def test_words_are_tinted_by_their_weight_and_their_sign_is_a_line() -> None:
    text = f"good {HOSTILE} bad"
    words = [
        {"word": "good", "start": 0, "end": 4, "weight": 0.4},
        {"word": HOSTILE, "start": 5, "end": 30, "weight": 0.0},
        {"word": "bad", "start": 31, "end": 34, "weight": -0.2},
    ]
    drawn = words_html(text, words)
    assert "<script" not in drawn and "&lt;script&gt;" in drawn
    assert "solid rgba(47,127,224,1.000)" in drawn and 'title="+0.4000"' in drawn
    assert "dashed rgba(217,115,13,0.500)" in drawn and 'title="-0.2000"' in drawn
    assert drawn.count("<span") == 3 and "> <span" in drawn


def test_answers_are_marked_where_they_stand_and_the_best_one_most() -> None:
    context = f"Ada {HOSTILE} wrote it in 1843."
    best = {"answer": "1843", "score": 0.9, "start": context.index("1843"), "end": context.index("1843") + 4}
    other = {"answer": "Ada", "score": 0.05, "start": 0, "end": 3}
    drawn = context_html(context, [best, other])
    assert "<script" not in drawn
    assert drawn.index("Ada</mark>") < drawn.index("1843</mark>") and drawn.count("<mark") == 2
    assert "solid" in drawn[drawn.index("it in") :] and "dotted" in drawn[: drawn.index("Ada</mark>")]
    assert moved(best, 4)["start"] == best["start"] - 4
    assert context_html("part", [], before=True, after=True).count("…") == 2


def test_no_answer_is_said() -> None:
    assert describe_answer({"answer": "", "score": 0.5, "start": 0, "end": 0}) == "No answer in this text (50.0%)"
    assert describe_answer({"answer": "*x*", "score": 1.0, "start": 0, "end": 3}) == r"**\*x\*** (100.0%)"


@pytest.mark.parametrize(
    ("text", "word", "joined"),
    [
        ("The cat", "sat", "The cat sat"),
        ("The ", "cat", "The cat"),
        ("He said (", "no", "He said (no"),
        ("End.", "Then", "End. Then"),
        ("猫", "が", "猫が"),
        ("Line\n", "two", "Line\ntwo"),
        ("", "A", "A"),
    ],
)
def test_a_word_is_appended_with_a_space_where_one_belongs(text: str, word: str, joined: str) -> None:
    assert appended(text, word) == joined


def test_a_story_goes_on_from_what_was_written() -> None:
    story = panel("story-completion")
    assert story.continued({"text": "Once"}, " upon") == {"text": "Once upon"}
    assert story.continued({"text": "Once"}, "") is None
    assert panel("sentiment-analysis").continued({"text": "Once"}, "x") is None


def test_a_conversation_of_the_history_is_read_also_as_json() -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert read_messages('[{"role": "user", "content": "hi"}]') == messages
    assert read_messages("{broken") == [] and read_messages(None) == []


@pytest.mark.parametrize(
    ("seen", "said"), [({}, False), ({"system_seen": True}, False), ({"system_seen": False}, True)]
)
def test_a_system_prompt_that_the_model_did_not_see_is_said(seen: dict[str, bool], said: bool) -> None:
    def draw(result: dict[str, object]) -> None:
        from ui.panels import panel

        panel("chatbot").draw_answer({"messages": []}, result, "key")

    from streamlit.testing.v1 import AppTest

    result = {"reply": "Hi", "dropped_messages": 0, "finish_reason": "stop", **seen}
    app = AppTest.from_function(draw, args=(result,)).run()
    assert any("no place for a system prompt" in one.value for one in app.caption) == said
