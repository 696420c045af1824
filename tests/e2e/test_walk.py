"""The tool as a new user walks through it, in a real browser, from an empty registry to a comparison's mistakes.

With PROJECT_DL_SCREENSHOTS=FOLDER its screenshots go there.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tasks.runs.listing import runs_table
from tasks.runs.trainings import classifier_predictions
from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, NARROW, WIDE, drawn, tool_running
from tests.support.clicking import LONG_S, come_back, draw_seven, on_screen, run, say, table
from tests.support.documents import pdf
from ui.panels.summarization import BRIDGE

pytestmark = pytest.mark.full
ROW = 35  # pixels of a table's line
CHAT_FIELD = "textarea[data-testid=stChatInputTextArea]:not([disabled])"
TURNS = (
    "What is the capital of France?",
    "Show a Python function that adds two numbers, as a code block.",
    "Is $5 and $6 the same as <b>$11</b>?",
    "![picture](https://evil.example/x.png) [link](javascript:alert(1))",
    "Thank you! One last sentence, please.",
)
CODE = "def add(a, b):\n    return a + b"
Save = Callable[[Any, str], None]


def test_from_an_empty_registry_to_the_mistakes_of_a_comparison(
    chromium: Any, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    pictures = Path(os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path / "pictures"))
    pictures.mkdir(parents=True, exist_ok=True)

    def save(page: Any, name: str) -> None:
        page.screenshot(path=pictures / f"walk-{name}.png", full_page=True)

    with tool_running(environment, tmp_path) as address:
        outside: list[str] = []
        context = chromium.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
        page.on("request", lambda request: outside.append(request.url) if address not in request.url else None)
        begin(page, address, save)

        come_back(page, f"{address}/chat", CHAT_FIELD)
        hold_a_conversation(page, save)
        edit_a_message(page, save)
        conversation = page.url.removeprefix(f"{address}/")
        strangers_do_not_read(chromium, f"{address}/{conversation}")

        document = tmp_path / "bridge.pdf"
        document.write_bytes(pdf([BRIDGE, "The council met on Tuesday.", "The repair will be finished in the autumn."]))
        read_a_document(page, address, document, save)

        another = [sys.executable, "-m", "experiments.register", "--task", "story-completion"]
        subprocess.run(
            another, env={**os.environ, **environment}, cwd=tmp_path, check=True, capture_output=True, timeout=LONG_S
        )
        vote_blindly(page, address, save)

        look_into_a_digit(page, address, save)

        start_a_comparison(page, address, save)
        find_it_among_all_runs(page, save)
        run_id = re.search("run=([0-9a-f]+)", page.url)[1]  # type: ignore[index]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment["MLFLOW_TRACKING_URI"])
        mlflow.set_tracking_uri(environment["MLFLOW_TRACKING_URI"])
        newest = runs_table().iloc[0]
        counts = classifier_predictions(run_id).confusion()
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        assert newest["run_id"] == run_id and newest["tags.model"] == "lenet5"
        open_a_confusion(page, run_id, counts, save)
        own = ("data:", "blob:", address.replace("http", "ws"))
        assert not [url for url in outside if not url.startswith(own)]

        comparison = newest["tags.mlflow.parentRunId"]
        places = {
            "home": "",
            "chat": conversation,
            "summarization": "tasks?task=summarization",
            "digit": "image",
            "all-runs": "results",
            "report": f"run?run={comparison}",
            "confusion": f"run?run={run_id}",
        }
        for name, viewport, scheme in (("narrow", NARROW, "light"), ("dark", WIDE, "dark")):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            for place, path in places.items():
                page.goto(f"{address}/{path}")
                drawn(page)
                assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
                assert not page.get_by_text("This page failed").count(), path
                save(page, f"{name}-{place}")
        context.close()


def begin(page: Any, address: str, save: Save) -> None:
    """The one click of an empty registry."""
    page.goto(address)
    page.get_by_role("button", name="Train and register these").click(timeout=ANSWER_MS)
    page.get_by_role("heading", name="Setting up").wait_for(timeout=ANSWER_MS)
    save(page, "setting-up")


def hold_a_conversation(page: Any, save: Save) -> None:
    """Five turns, of which some look like markup; all are there after a reload."""
    page.get_by_role("button", name="Settings").click()
    tokens = page.get_by_role("spinbutton", name="Max new tokens")
    tokens.fill("60")
    tokens.press("Tab")
    drawn(page)
    page.keyboard.press("Escape")
    for text in TURNS:
        say(page, text)
        on_screen(page)
    save(page, "chat")
    messages = page.get_by_test_id("stChatMessage")
    texts = messages.all_inner_texts()
    assert len(texts) == 2 * len(TURNS) and "Paris" in texts[1]
    assert "$5 and $6 the same as <b>$11</b>?" in texts[4]
    assert not page.locator("[data-testid=stChatMessage] img[src*=evil], a[href^=javascript]").count()
    cookie = next(one for one in page.context.cookies() if one["name"] == "project_dl_owner")
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["value"] not in page.url

    page.reload()
    drawn(page)
    messages.nth(len(texts) - 1).wait_for(timeout=ANSWER_MS)
    firsts = [[text.split("\n")[0] for text in those] for those in (messages.all_inner_texts(), texts)]
    assert firsts[0] == firsts[1]
    on_screen(page)


def edit_a_message(page: Any, save: Save) -> None:
    """Edit the second message, copy its code, and go back to what was there."""
    messages = page.get_by_test_id("stChatMessage")
    messages.nth(2).get_by_role("button", name="Edit").click()
    drawn(page)
    page.get_by_role("textbox", name="Your message", exact=True).first.fill(f"Say this again:\n```python\n{CODE}\n```")
    page.get_by_role("button", name="Send", exact=True).first.click()
    page.get_by_text("2/2").wait_for(timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached", timeout=ANSWER_MS)
    drawn(page)
    block = messages.nth(2).get_by_test_id("stCode")
    block.hover()
    block.get_by_role("button").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == CODE
    save(page, "chat-edited")
    page.get_by_role("button", name="‹").click()
    page.get_by_text("1/2").wait_for(timeout=ANSWER_MS)
    drawn(page)
    assert messages.count() == 2 * len(TURNS)


def strangers_do_not_read(chromium: Any, conversation: str) -> None:
    """The address of a conversation alone does not open it in another browser."""
    context = chromium.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(conversation)
    page.get_by_text("This browser has no such conversation").wait_for(timeout=ANSWER_MS)
    assert not page.get_by_test_id("stChatMessage").count()
    context.close()


def read_a_document(page: Any, address: str, document: Path, save: Save) -> None:
    """Summarize a PDF, then ask about it."""
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
        save(page, task)


def vote_blindly(page: Any, address: str, save: Save) -> None:
    """Compare two models whose names are hidden, and see the vote on the leaderboard."""
    page.goto(f"{address}/tasks?task=story-completion")
    drawn(page)
    page.get_by_text("Blind A/B").click()
    drawn(page)
    page.locator("[class*='-example-0'] button").click()
    drawn(page)
    page.get_by_text("Settings").click()
    tokens = page.get_by_role("spinbutton", name="Max new tokens")
    tokens.fill("8")
    tokens.press("Tab")
    drawn(page)
    run(page)
    page.get_by_role("heading", name="Which answer is better?").wait_for(timeout=ANSWER_MS)
    assert page.get_by_text(re.compile(r"tokens/s")).count() == 0  # it would tell them apart
    save(page, "blind")
    page.get_by_role("button", name="Left", exact=True).click()
    page.get_by_text("Your vote is kept").wait_for(timeout=ANSWER_MS)
    drawn(page)
    assert page.get_by_text(re.compile(r"tokens/s.*SmolLM2")).count() == 2
    page.get_by_role("tab", name="Leaderboard").click()
    page.get_by_text("1 blind vote.").wait_for(timeout=ANSWER_MS)
    drawn(page)
    save(page, "leaderboard")


def look_into_a_digit(page: Any, address: str, save: Save) -> None:
    """Draw a digit, and open its feature maps."""
    come_back(page, f"{address}/image", "canvas")
    draw_seven(page)
    save(page, "digit")
    page.goto(f"{address}/networks")
    drawn(page)
    page.get_by_text("What it sees").click()
    drawn(page)
    draw_seven(page)
    page.get_by_text("Filters of the first layer").wait_for(timeout=ANSWER_MS)
    drawn(page)
    save(page, "feature-maps")


def start_a_comparison(page: Any, address: str, save: Save) -> None:
    """Start one, watch it, open its report, and follow a link within."""
    page.goto(f"{address}/runs")
    drawn(page)
    page.get_by_role("combobox", name=re.compile("What to run")).click()
    page.get_by_role("option", name="Compare models").click()
    drawn(page)
    for name, value in (("Models", "lenet5"), ("Datasets", "digits"), ("Epochs", "2")):
        page.get_by_role("textbox", name=name, exact=True).fill(value)
        page.keyboard.press("Tab")
        drawn(page)
    page.get_by_role("button", name="Start", exact=True).click()
    # The first start may still be at work beside it.
    page.wait_for_function("/^(Comparison|\\d+ at work)/.test(document.title)", timeout=ANSWER_MS)
    page.get_by_test_id("stToast").get_by_text(re.compile("Comparison.*finished")).wait_for(timeout=LONG_S * 1000)
    card = page.locator("[class*=st-key-process-]").filter(has_text="Comparison").last  # the innermost container
    card.get_by_text("Curves and log").click()
    card.get_by_role("link", name="Open the run").click(timeout=ANSWER_MS)

    page.wait_for_url(re.compile(r"/run\?run=[0-9a-f]{32}$"))
    drawn(page)
    report = page.frame_locator("iframe[title='Report reports/comparison.html']")
    report.get_by_role("heading", level=1).wait_for(timeout=ANSWER_MS)
    save(page, "report")
    report.get_by_role("link", name="How it was measured").click()  # within the report, not away from it
    assert report.get_by_role("heading", name="How it was measured").is_visible()
    assert report.locator("body").evaluate("body => body.ownerDocument.defaultView.scrollY") > 0


def find_it_among_all_runs(page: Any, save: Save) -> None:
    """The newest run of the table is the training of the comparison."""
    page.get_by_role("link", name="All runs").first.click()
    drawn(page)
    save(page, "all-runs")
    table(page, "all-runs").click(position={"x": 15, "y": ROW * 3 // 2})
    page.get_by_role("heading", name="Confusion matrix").wait_for(timeout=ANSWER_MS)
    drawn(page)


def open_a_confusion(page: Any, run_id: str, counts: Any, save: Save) -> None:
    """A click on a cell of the confusion matrix shows the pictures that it counts."""
    true, said = next((int(a), int(b)) for a, b in zip(*counts.nonzero(), strict=True) if a != b)
    matrix = table(page, f"confusion-{run_id}")
    matrix.click(position={"x": matrix.bounding_box()["width"] - 12, "y": ROW * 3 // 2})  # the first line's last cell
    for key, times in (("ArrowLeft", 9 - said), ("ArrowDown", true)):
        for _ in range(times):
            page.keyboard.press(key)
    page.get_by_role("heading", name=f"{true} taken for {said}: {counts[true, said]}").wait_for(timeout=ANSWER_MS)
    drawn(page)
    assert page.locator(f"img[alt$='{true} taken for {said}']").count() == min(16, counts[true, said])
    picture = page.locator(f"img[alt$='{true} taken for {said}']").first.bounding_box()
    assert picture["y"] + picture["height"] <= WIDE["height"]  # nobody has to look for it
    save(page, "confusion")
