"""The home page: what is there, what is missing, and the first start with an empty registry."""

import time

import pytest

from tests.support.pages import words
from ui.running import first_start, processes
from ui.running.processes import RUNNING, WAITING, Process
from ui.services import registered
from ui.session import forget_versions


def test_every_task_that_has_a_model_has_a_card(tool, page) -> None:
    app = page("home")
    assert not app.exception and not app.error and not app.info
    assert "lenet5 on digits" in words(app) and "tiny diffusion" in words(app)
    assert not [button for button in app.button if button.key == "home-first-start"]


def test_an_empty_registry_is_said_and_one_button_starts_what_can_be_made(
    empty_tool, page, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(first_start, "start", lambda entry, values: asked.append(entry))
    app = page("home")
    assert "Nothing is registered yet" in words(app) and "LeNet\\-5" in words(app)
    app.button(key="home-first-start").click().run()
    assert asked[0] == "register" and asked[-2:] == ["cnn", "seq2seq"] and not app.exception


def test_a_registry_that_has_only_a_training_is_offered_the_rest(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(first_start, "start", lambda entry, values: asked.append(entry))
    only = [one for one in registered() if one.task == "image-classification"]
    monkeypatch.setattr("ui.session.registered", lambda: only)
    app = page("home")
    assert "What you can do now" in words(app) and "One click adds what else works offline" in words(app)
    assert "LeNet\\-5, trained" not in words(app)
    app.button(key="home-first-start").click().run()
    assert asked[0] == "register" and asked[-1] == "seq2seq" and "cnn" not in asked and not app.exception


def test_while_the_first_start_works_its_steps_are_shown_and_what_is_ready_opens(
    tool, page, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.time() - 30
    states = {"cnn": RUNNING, "seq2seq": WAITING}
    listed = [
        Process(id=f"20260101-120000-0123abc{number}", entry=entry, values={}, command=(), pid=1, state=state,
                started=begun, began=begun if state == RUNNING else None, ended=None, code=None, stopping=False)
        for number, (entry, state) in enumerate(states.items())
    ]  # fmt: skip
    for module in ("ui.home_page", "ui.running.first_start"):
        monkeypatch.setattr(f"{module}.processes", lambda: listed)
    monkeypatch.setattr("ui.home_page.log_tail", lambda *_: "epoch 1/4\n/lib/x.py:1: UserWarning: old")
    found = registered()
    monkeypatch.setattr("ui.session.registered", list)
    app = page("home")
    assert "Setting up" in words(app) and "0 of 2 steps done" in words(app)
    assert "Nothing is registered yet" not in words(app) and "UserWarning" not in words(app)
    assert not [button for button in app.button if button.key == "home-first-start"]
    assert "queued" in words(app) and "running" in words(app) and " left" in app.get("progress")[0].proto.text
    monkeypatch.setattr("ui.session.registered", lambda: found)
    forget_versions()
    assert "What you can do now" in words(app.run())


def test_tasks_without_a_model_are_named_with_what_they_need(empty_tool, page) -> None:
    text = words(page("home"))
    assert "**Summarization**" in text and "parameters" in text


def test_what_is_at_work_is_shown_and_what_failed_says_why(empty_tool, page) -> None:
    process = processes.start("cnn", {"epochs": "2", "batch_size": "100000", "register": "false"})
    end = time.monotonic() + 120
    while processes.find(process.id).active and time.monotonic() < end:
        time.sleep(0.5)
    app = page("home")
    assert any("batch" in element.value for element in app.error), words(app)
