"""The task page: every text task is asked and answers; wrong input, no models and no store are readable errors."""

from typing import Any

import pytest

from tests.support.pages import button, chosen, fine, opened, page_text, press, slowly
from tests.support.words import PATIENCE, until
from ui.session import services

HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) **b** :red[r] $y$"


def test_every_text_task_answers_its_example(tool, page) -> None:
    app = page("tasks")
    for task in (
        "sentiment-analysis",
        "summarization",
        "next-word-prediction",
        "story-completion",
        "question-answering",
    ):
        chosen(app, task)
        app.button(key=f"tasks-{task}-example-0").click().run()
        press(app, "Run")
        fine(app)
        assert "CPU" in page_text(app) and task.replace("-", r"\-") in page_text(app), task
        assert button(app, "Stop").disabled
        assert app.query_params == {"task": task, "model": app.selectbox(key=f"tasks-model-{task}").value}
    assert len(app.session_state["history"]) == 5
    assert {one.task for one in app.session_state["history"]} >= {"sentiment-analysis", "question-answering"}


def test_the_words_of_a_text_are_shown_by_what_they_did_and_inert(tool, page) -> None:
    app = opened(page, "sentiment-analysis")
    app.text_area(key="tasks-sentiment-analysis-text").set_value(f"=good {HOSTILE}").run()
    app.toggle(key="tasks-sentiment-analysis-set-explain").set_value(True).run()
    press(app, "Run")
    html = next(one.proto.body for one in fine(app).get("html") if "good" in one.proto.body)
    assert "<script" not in html and "&lt;" in html and 'title="' in html
    words = list(app.dataframe[0].value["word"])
    assert len(words) > 5
    assert "'=" in words  # the table can be downloaded as CSV


def test_what_the_model_does_not_know_is_said(tool, page) -> None:
    app = opened(page, "summarization")
    for text, said in (("The cat sat.", []), ("The cat 😡 sat. ☃", [r"This model does not know\: 😡, ☃\."])):
        app.text_area(key="tasks-summarization-text").set_value(text).run()
        press(app, "Run")
        assert [one.value for one in fine(app).warning] == said


def test_wrong_input_is_said_by_the_field_before_any_model_is_asked_and_nothing_typed_is_lost(tool, page) -> None:
    app = opened(page, "question-answering")
    app.text_input(key="tasks-question-answering-question").set_value("Who?").run()
    press(app, "Run")
    assert not app.session_state["tasks-askings"]["question-answering"]  # nothing that could be taken for its answer
    assert [one.value for one in app.error] == [r"context is empty; valid\: text of 1 character to 1 MB"]
    assert app.text_input(key="tasks-question-answering-question").value == "Who?"
    assert "history" not in app.session_state or app.session_state["history"] == []
    app.text_area(key="tasks-question-answering-context").set_value("Ada wrote it.").run()
    assert not app.error
    press(app, "Run")
    fine(app)


def test_what_only_the_model_can_refuse_is_said_there_too(tool, page) -> None:
    app = opened(page, "summarization")
    field = "tasks-summarization-set-max_length"
    app.number_input(key=field).set_value(1025).run()
    assert "from 1 to 1024" in page_text(app)  # before anything is asked
    app.number_input(key=field).set_value(1000).run()
    assert ":red[" not in page_text(app)
    app.button(key="tasks-summarization-example-0").click().run()
    press(app, "Run")
    assert "is 1000; valid" in app.error[0].value and len(app.error) == 1
    limit = services().worker.limits("summarization/2")["max_length"]
    slider = app.run().slider(key=field)  # so few fit on one
    assert slider.max == limit and slider.value <= limit


def test_a_story_goes_on_and_two_models_tell_it_side_by_side(tool, page) -> None:
    app = opened(page, "story-completion")
    app.button(key="tasks-story-completion-example-1").click().run()
    begun = app.text_area(key="tasks-story-completion-text").value
    press(app, "Run")
    written = fine(app).session_state["history"][0].result["completion"]
    press(app, "Continue")
    assert fine(app).text_area(key="tasks-story-completion-text").value == begun + written
    assert app.session_state["history"][0].row["text"] == begun + written

    app.toggle(key="tasks-side-story-completion").set_value(True).run()
    press(app, "Run")
    fine(app)
    newest = app.session_state["history"][:2]
    assert {one.reference for one in newest} == {"story-completion/1", "story-completion/2"}
    assert len([one for one in app.button if one.label == "Continue"]) == 2
    assert r"**tiny gpt2**" in page_text(app) and r"**tiny llama**" in page_text(app)


def test_a_click_on_a_candidate_writes_the_word_and_asks_again(tool, page) -> None:
    app = opened(page, "next-word-prediction")
    app.text_area(key="tasks-next-word-prediction-text").set_value("Once upon a").run()
    press(app, "Run")
    first = fine(app).session_state["history"][0].result["candidates"][0]["word"]
    app.button(key="tasks-next-word-prediction-answer-0-word-0").click().run()
    assert fine(app).text_area(key="tasks-next-word-prediction-text").value == f"Once upon a {first}"
    assert len(app.session_state["history"]) == 2


def test_an_answer_can_be_stopped_while_it_is_written_and_keeps_its_beginning(tool, page) -> None:

    from tasks.runtime.jobs import Job
    from ui.answers import answering, asking

    app = opened(page, "story-completion")
    app.button(key="tasks-story-completion-example-1").click().run()
    app.number_input(key="tasks-story-completion-set-max_new_tokens").set_value(60).run()
    with pytest.MonkeyPatch.context() as patch:
        update = asking.Asking.update

        def stop_soon(self: Any, wait: float = 0.0) -> None:
            update(self, wait)
            if len(self.events) >= 2:
                self.stop()

        patch.setattr(asking.Asking, "update", stop_soon)
        patch.setattr(answering, "REDRAW_S", 0.001)
        patch.setattr(Job, "_must_stop", slowly(Job._must_stop))
        press(app, "Run")
    fine(app)
    kept = app.session_state["history"][0]
    assert kept.stopped and kept.result["partial"] and kept.tokens < 60
    assert "stopped" in page_text(app) and button(app, "Continue")
    press(app, "Continue")
    assert fine(app).session_state["history"][0].row["text"].endswith(kept.result["partial"])


def test_what_was_typed_is_still_there_after_a_visit_elsewhere(tool, page) -> None:
    app = opened(page, "sentiment-analysis")
    app.text_area(key="tasks-sentiment-analysis-text").set_value("mine").run()
    app.selectbox(key="tasks-task").set_value("summarization").run()
    app.switch_page("views/home.py").run()
    app.switch_page("views/tasks.py").run()
    assert app.selectbox(key="tasks-task").value == "summarization"
    app.selectbox(key="tasks-task").set_value("sentiment-analysis").run()
    assert app.text_area(key="tasks-sentiment-analysis-text").value == "mine"


def test_the_address_chooses_and_a_wrong_one_is_said(tool, page) -> None:
    app = page("tasks")
    app.query_params["task"], app.query_params["model"] = "story-completion", "story-completion/1"
    app.run()
    assert app.selectbox(key="tasks-task").value == "story-completion"
    assert app.selectbox(key="tasks-model-story-completion").value == "story-completion/1"
    app.query_params["task"] = "<b>nothing</b>"
    app.run()
    assert r"\<b\>nothing\<\/b\>".replace(r"\/", "/") in app.warning[0].value


def test_settings_go_back_to_their_defaults(tool, page) -> None:
    app = opened(page, "story-completion")
    assert app.number_input(key="tasks-story-completion-set-max_new_tokens").value == 8
    press(app, "Reset to defaults")
    assert app.number_input(key="tasks-story-completion-set-max_new_tokens").value == 100


def test_a_question_from_the_history_is_put_into_the_form(tool, page) -> None:
    app = opened(page, "sentiment-analysis")
    app.text_area(key="tasks-sentiment-analysis-text").set_value("good").run()
    press(app, "Run")
    app.text_area(key="tasks-sentiment-analysis-text").set_value("other").run()
    app.session_state["tasks-tab"] = "History"
    app.run()
    assert not [one for one in app.button if one.label == "Run"]

    asked = app.session_state["history"][0]
    assert asked.row == {"text": "good"} and asked.task == "sentiment-analysis"


@pytest.mark.parametrize("tab", ["Batch", "History"])
def test_the_other_tabs_open(tool, page, tab: str) -> None:
    app = page("tasks")
    app.session_state["tasks-tab"] = tab
    fine(app.run())


def test_an_empty_registry_says_so(empty_tool, page) -> None:
    app = fine(page("tasks"))
    assert "No model is registered yet" in page_text(app) and not app.selectbox


def test_jobs_of_a_visitor_who_left_are_cancelled() -> None:
    from tasks.runtime.jobs import JobCancelled
    from tasks.runtime.worker import Worker
    from tests.support.words import MB, Loads
    from ui.answers.answering import _leave

    with Worker(Loads(), 100 * MB) as worker:
        jobs = [worker.submit("words", {"text": "word " * 1000}, {"pause_ms": 20}) for _ in range(2)]
        until(lambda: jobs[0].state == "running")
        _leave(jobs)
        for job in jobs:
            with pytest.raises(JobCancelled, match="the visitor left"):
                job.result(PATIENCE)
