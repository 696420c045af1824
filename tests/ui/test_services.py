"""What all pages share: one worker, whose models stay while visitors go from page to page."""

import pytest

from tasks.registry import load
from ui import services


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
