"""The title of the tab, and the toast of what has ended in the background."""

import dataclasses

import pytest

from ui.at_work import tab_title
from ui.running.processes import Process

RUNNING = Process("20260101-000000-00000000", "cnn", {"model": "vgg_small"}, (), 1, "running", 0, 0, None, None, False)


def test_the_title_names_the_page_and_what_is_at_work() -> None:
    assert tab_title("", []) == "Project-DL"
    assert tab_title("Chat", ["lenet5 on digits"]) == "lenet5 on digits · Chat · Project-DL"
    assert tab_title("Chat", ["a", "b"]) == "2 at work · Chat · Project-DL"


def test_what_ends_while_another_page_is_open_is_said_once(empty_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [RUNNING]
    monkeypatch.setattr("ui.at_work.processes", lambda: found)
    app = page("networks")
    assert not app.toast
    found[:] = [dataclasses.replace(RUNNING, state="failed", ended=1.0, code=1)]
    app.run()
    assert [toast.value for toast in app.toast] == [r"vgg\_small on digits\: failed"]
    assert not app.run().toast
