"""What all pages share: a store that is down, models that stay, the title of the tab, toasts of what has ended."""

from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tasks.registry import load
from tests.support.pages import fine, press, texts
from tests.support.processes import a_process
from ui import services
from ui.frame import tab_title


@pytest.mark.parametrize("name", ["home", "tasks", "image", "compare", "seq2seq", "models", "results"])
def test_a_store_that_is_down_is_said_with_a_retry(tool, page, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", down)
        app = page(name)
        assert "does not answer: connection refused" in texts(app)
    fine(press(app, "Try again"))


def test_going_from_page_to_page_loads_no_model_again(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(services, "load", lambda key: loaded.append(key) or load(key))
    app = page("tasks")
    app.selectbox[0].select("sentiment-analysis").run()
    for _ in range(2):
        app.text_area[0].set_value("A fine day.").run()
        next(button for button in app.button if button.label == "Run").click().run()
        assert "probability" in " ".join(element.value for element in app.markdown)
        for path in ("compare", "models", "tasks"):
            app.switch_page(f"views/{path}.py").run()
        app.selectbox[0].select("sentiment-analysis").run()
    assert len(loaded) == 1


def test_a_second_visitor_uses_the_models_of_the_first(tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(services, "load", lambda key: loaded.append(key) or load(key))
    for _ in range(2):
        app = page("seq2seq")
        next(button for button in app.button if button.label == "Reverse").click().run()
    assert len(loaded) == len(set(loaded)) > 0


def test_the_title_names_the_page_and_what_is_at_work() -> None:
    assert tab_title("", []) == "Project-DL"
    assert tab_title("Chat", ["lenet5 on digits"]) == "lenet5 on digits · Chat · Project-DL"
    assert tab_title("Chat", ["a", "b"]) == "2 at work · Chat · Project-DL"


def test_what_ends_while_another_page_is_open_is_said_once(empty_tool, page, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [a_process(values={"model": "vgg_small"})]
    monkeypatch.setattr("ui.frame.processes", lambda: found)
    app = page("networks")
    assert not app.toast
    found[:] = [a_process("failed", values={"model": "vgg_small"}, ended=1.0, code=1)]
    app.run()
    assert [toast.value for toast in app.toast] == [r"vgg\_small on digits\: failed"]
    assert not app.run().toast
