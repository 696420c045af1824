"""The chat page in a real browser, with SmolLM2: five turns, a reload, an edit, a document; wide, narrow and dark.

With PROJECT_DL_SCREENSHOTS=FOLDER its screenshots go there.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.e2e.test_browser import drawn
from tests.support.browsing import NARROW, tool_running
from tests.support.documents import pdf

WIDE = {"width": 1440, "height": 900}
ANSWER_MS = 300_000
TURNS = (
    "What is the capital of France?",
    "Show a Python function that adds two numbers, as a code block.",
    "Is $5 and $6 the same as <b>$11</b>?",
    "![picture](https://evil.example/x.png) [link](javascript:alert(1))",
    "Thank you! One last sentence, please.",
)
CODE = "```python\ndef add(a, b):\n    return a + b\n```"
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The tool over a store with SmolLM2, twice."""
    folder = tmp_path_factory.mktemp("tool")
    database = folder / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "experiments.register", "--task", "chatbot"],
            env={**os.environ, **environment},
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=600,
        )
    with tool_running(environment, folder) as address:
        yield address


@pytest.fixture
def save(tmp_path: Path) -> Any:
    folder = Path(os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png")


def visit(context: Any, address: str, outside: list[str], path: str = "chat") -> Any:
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.on("request", lambda request: outside.append(request.url) if address not in request.url else None)
    page.goto(f"{address}/{path}")
    drawn(page)
    return page


def say(page: Any, text: str) -> None:
    """Send a message, and wait until its reply is over."""
    before = page.get_by_test_id("stChatMessage").count()
    field = page.get_by_test_id("stChatInputTextArea")
    field.fill(text)
    field.press("Enter")
    page.wait_for_function(
        "count => document.querySelectorAll('[data-testid=stChatMessage]').length >= count + 2",
        arg=before,
        timeout=ANSWER_MS,
    )
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached", timeout=ANSWER_MS)
    drawn(page)


def on_screen(page: Any) -> None:
    """The field to write in, and the end of the last reply above it, are seen without scrolling."""
    height = page.viewport_size["height"]
    field = page.get_by_test_id("stChatInput").bounding_box()
    assert field["y"] >= 0 and field["y"] + field["height"] <= height, field
    last = page.get_by_test_id("stChatMessage").last.bounding_box()
    assert last["y"] < field["y"] and last["y"] + last["height"] > 0, (last, field)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_conversation_is_held_reloaded_and_changed(address: str, chromium: Any, save: Any) -> None:
    outside: list[str] = []
    context = chromium.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    page = visit(context, address, outside)
    save(page, "chat-empty")
    page.get_by_role("button", name="Settings").click()
    tokens = page.get_by_role("spinbutton", name="Max new tokens")
    tokens.fill("60")
    tokens.press("Tab")
    drawn(page)
    page.keyboard.press("Escape")
    for text in TURNS:
        say(page, text)
        on_screen(page)
    save(page, "chat-five-turns")
    messages = page.get_by_test_id("stChatMessage")
    assert messages.count() == 10
    assert "$5 and $6 the same as <b>$11</b>?" in messages.nth(4).inner_text()
    assert not page.locator("[data-testid=stChatMessage] img[src*=evil], a[href^=javascript]").count()
    cookie = next(one for one in context.cookies() if one["name"] == "project_dl_owner")
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["value"] not in page.url

    texts = [text.split("\n")[0] for text in messages.all_inner_texts()]
    page.reload()
    drawn(page)
    messages.nth(9).wait_for(timeout=ANSWER_MS)
    assert [text.split("\n")[0] for text in messages.all_inner_texts()] == texts
    on_screen(page)
    save(page, "chat-reloaded")

    messages.nth(2).get_by_role("button", name="Edit").click()
    drawn(page)
    editor = page.get_by_role("textbox", name="Your message", exact=True).first
    editor.fill(f"Say this again:\n{CODE}")
    page.get_by_role("button", name="Send", exact=True).first.click()
    page.get_by_text("2/2").wait_for(timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached", timeout=ANSWER_MS)
    drawn(page)
    block = messages.nth(2).get_by_test_id("stCode")
    block.hover()
    block.get_by_role("button").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == "def add(a, b):\n    return a + b"
    save(page, "chat-edited")
    page.get_by_role("button", name="‹").click()
    page.get_by_text("1/2").wait_for(timeout=ANSWER_MS)
    drawn(page)
    assert messages.count() == 10
    assert not [url for url in outside if not url.startswith(("data:", "blob:", address.replace("http", "ws")))]

    stranger = chromium.new_context(viewport=WIDE)
    other = visit(stranger, address, outside, page.url.removeprefix(f"{address}/"))
    other.get_by_text("This browser has no such conversation").wait_for(timeout=ANSWER_MS)
    assert not other.get_by_test_id("stChatMessage").count()
    stranger.close()
    context.close()


def test_a_document_is_talked_about_on_a_dark_telephone(address: str, chromium: Any, save: Any, tmp_path: Path) -> None:
    document = tmp_path / "report.pdf"
    document.write_bytes(pdf([f"Page {number}. The bridge is closed until June. " * 3 for number in range(6)]))
    context = chromium.new_context(viewport=NARROW, color_scheme="dark")
    page = visit(context, address, [])
    save(page, "chat-narrow-empty")
    page.locator("[data-testid=stChatInput] input[type=file]").set_input_files(document)
    page.get_by_text("report.pdf").first.wait_for(timeout=ANSWER_MS)
    say(page, "When does the bridge open?")
    page.get_by_text("report.pdf").first.wait_for(timeout=ANSWER_MS)
    page.get_by_text(re.compile(r"context [\d,]+ of [\d,]+ tokens")).wait_for(timeout=ANSWER_MS)
    on_screen(page)
    save(page, "chat-narrow-dark")
    context.close()
