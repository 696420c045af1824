"""In a real browser, from an empty registry: one click, and what it sets up is used as soon as it is ready."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.e2e.test_browser import draw_seven
from tests.e2e.test_chat_browser import say
from tests.support.browsing import ANSWER_MS, WIDE, drawn, tool_running
from tests.support.documents import pdf
from ui.panels.summarization import BRIDGE

pytestmark = pytest.mark.full
LONG_S = 600


def come_back(page: Any, address: str, ready: str) -> None:
    """Open a page again until there is something on it that can be used."""
    deadline = time.monotonic() + LONG_S
    page.goto(address)
    drawn(page)
    while not page.locator(ready).count():
        assert time.monotonic() < deadline, f"{address} has no {ready}"
        page.goto(address)
        drawn(page)


def test_one_click_leads_from_an_empty_registry_to_answers(chromium: Any, tmp_path: Path, empty_store: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "PYTHONPATH": str(PROJECT_ROOT)}
    document = tmp_path / "bridge.pdf"
    document.write_bytes(pdf([BRIDGE, "The council met on Tuesday.", "The repair will be finished in the autumn."]))
    with tool_running(environment, tmp_path) as address:
        page = chromium.new_page(viewport=WIDE)
        page.goto(address)
        page.get_by_role("button", name="Train and register these").click(timeout=ANSWER_MS)
        page.get_by_role("heading", name="Setting up").wait_for(timeout=ANSWER_MS)

        come_back(page, f"{address}/chat", "textarea[data-testid=stChatInputTextArea]:not([disabled])")
        say(page, "What is the capital of France?")
        assert "Paris" in page.get_by_test_id("stChatMessage").last.inner_text()
        page.reload()
        drawn(page)
        assert "Paris" in page.get_by_test_id("stChatMessage").last.inner_text()

        for task, said in (("summarization", "Summary"), ("question-answering", "three million euros")):
            come_back(page, f"{address}/tasks?task={task}&model={task}/1", "button:has-text('Read documents')")
            page.get_by_role("button", name="Read documents").click()
            page.locator("input[type=file]").set_input_files(document)
            page.locator("textarea", has_text="three million euros").first.wait_for(timeout=ANSWER_MS)
            page.keyboard.press("Escape")
            if task == "question-answering":
                page.get_by_role("textbox", name="Question").fill("How much will the repair cost?")
            page.get_by_role("textbox").last.press("Control+Enter")
            page.locator("[class*=st-key-tasks-][class*=-answers]").get_by_text(said).first.wait_for(timeout=ANSWER_MS)
            drawn(page)

        come_back(page, f"{address}/image", "canvas")
        draw_seven(page)
        page.goto(f"{address}/results")
        drawn(page)
        assert not page.get_by_text("There are no runs yet").count()
        page.close()
