"""The home page: what is there, what is missing, and the first start with an empty registry."""

import time

import pytest

from tests.support.pages import fine, page_text
from tests.support.processes import ID, a_process, noted
from ui.running.processes import RUNNING, WAITING
from ui.services import registered
from ui.session import forget_versions


def test_every_task_that_has_a_model_has_a_card(tool, page) -> None:
    app = fine(page("home"))
    assert not app.info
    assert "lenet5 on digits" in page_text(app) and "tiny diffusion" in page_text(app)
    assert not [button for button in app.button if button.key == "home-first-start"]


def test_an_empty_registry_is_said_and_one_button_starts_what_can_be_made(empty_tool, page, started: list) -> None:
    app = page("home")
    assert "Nothing is registered yet" in page_text(app) and "LeNet\\-5" in page_text(app)
    app.button(key="home-first-start").click().run()
    entries = [entry for entry, _ in started]
    assert entries[0] == "register" and entries[-2:] == ["cnn", "seq2seq"]


def test_a_registry_that_has_only_a_training_is_offered_the_rest(
    tool, page, started: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = [one for one in registered() if one.task == "image-classification"]
    monkeypatch.setattr("ui.session.registered", lambda: only)
    app = page("home")
    assert "What you can do now" in page_text(app)
    assert "One click adds everything else that works offline" in page_text(app)
    assert "LeNet\\-5, trained" not in page_text(app)
    app.button(key="home-first-start").click().run()
    entries = [entry for entry, _ in started]
    assert entries[0] == "register" and entries[-1] == "seq2seq" and "cnn" not in entries


def test_while_the_first_start_works_its_steps_are_shown_and_what_is_ready_opens(
    tool, page, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.time() - 30
    listed = [a_process(RUNNING, started=begun, began=begun), a_process(WAITING, "seq2seq", id=f"{ID}0", began=None)]
    for module in ("ui.home_page", "ui.running.first_start"):
        monkeypatch.setattr(f"{module}.processes", lambda: listed)
    monkeypatch.setattr("ui.home_page.log_tail", lambda *_: "epoch 1/4\n/lib/x.py:1: UserWarning: old")
    found = registered()
    monkeypatch.setattr("ui.session.registered", list)
    app = page("home")
    assert "Setting up" in page_text(app) and "0 of 2 steps done" in page_text(app)
    assert "Nothing is registered yet" not in page_text(app) and "UserWarning" not in page_text(app)
    assert not [button for button in app.button if button.key == "home-first-start"]
    assert "queued" in page_text(app) and "running" in page_text(app) and " left" in app.get("progress")[0].proto.text
    monkeypatch.setattr("ui.session.registered", lambda: found)
    forget_versions()
    assert "What you can do now" in page_text(app.run())


def test_tasks_without_a_model_are_named_with_what_they_need(empty_tool, page) -> None:
    text = page_text(page("home"))
    assert "**Summarization**" in text and "parameters" in text


def test_what_is_at_work_is_shown_and_what_failed_says_why(empty_tool, page) -> None:
    noted(empty_tool, code=1, log="epoch 1/3\nerror: batch_size is 100000")
    app = page("home")
    assert ["batch" in element.value for element in app.error] == [True], page_text(app)
