"""A model of the local Hub by clicks in a real browser: found, downloaded, stopped, resumed, registered, asked.

With PROJECT_DL_SCREENSHOTS=FOLDER the screenshots are kept there.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.catalog import catalog
from tests.conftest import PROJECT_ROOT
from tests.support.browsing import WIDE, browser, drawn, tool_running
from tests.support.local_hub import TOKEN, local_hub

ID = "someone/SmolLM2-135M-Instruct-GGUF"
HALF = 40_000_000
WAIT_MS = 240_000
pytestmark = pytest.mark.full


def test_a_model_is_found_fetched_stopped_resumed_and_asked(empty_store: Path, tmp_path: Path) -> None:
    packaged = catalog()["chatbot"].packaged
    weights = packaged.package.find() if packaged and packaged.package else None
    if weights is None:
        pytest.skip("the weights of SmolLM2 are not installed (make weights)")
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    with local_hub() as hub:
        model = hub.add(ID, {weights.name: weights.read_bytes()}, downloads=12_345, gated="auto", accepted=True)
        hub.add("someone/SmolLM2-1.7B-of-a-future-Instruct", {"pytorch_model.bin": b"x"})
        hold = hub.hold(weights.name, after=HALF)
        environment = {
            "MLFLOW_TRACKING_URI": f"sqlite:///{database}",
            "PYTHONPATH": str(PROJECT_ROOT),
            **hub.environment(tmp_path / "cache"),
        }
        with tool_running(environment, tmp_path) as address, browser() as chromium:
            page = chromium.new_context(viewport=WIDE).new_page()
            outside: list[str] = []
            page.on("request", lambda request: outside.append(request.url))
            page.goto(f"{address}/models")
            page.get_by_role("tab", name="Find on the Hub").click(timeout=WAIT_MS)
            page.get_by_role("combobox", name=re.compile("Task")).click(timeout=WAIT_MS)
            page.get_by_role("option", name="Chatbot").click()
            page.get_by_role("textbox", name="Words in the name").fill("smollm2 instruct")
            page.get_by_role("button", name="Search").click()
            page.get_by_text("12,345 downloads").wait_for(timeout=WAIT_MS)
            assert not page.get_by_text("of-a-future").count()
            shot(page, "hub-found", tmp_path)

            page.get_by_text("Token for gated and private models").click()
            page.get_by_role("textbox", name="Token").fill(TOKEN)
            page.get_by_role("button", name="Use token").click()
            page.get_by_text("Your token is used until you close this page").wait_for(timeout=WAIT_MS)
            page.get_by_role("button", name="Download and register").click()
            assert hold.reached.wait(WAIT_MS / 1000)
            page.get_by_text(re.compile(r"downloaded [34]\d\.\d of 98\.\d MB \(\d+%\)")).first.wait_for(timeout=WAIT_MS)
            shot(page, "hub-download", tmp_path)
            page.get_by_role("button", name="Stop", exact=True).click()
            page.get_by_text("of an unfinished download are kept for the next try").wait_for(timeout=WAIT_MS)
            shot(page, "hub-stopped", tmp_path)
            assert TOKEN not in page.content()

            hub.sent.clear()
            page.get_by_role("button", name="Resume").click()
            page.get_by_role("link", name="Open in its task").click(timeout=WAIT_MS)
            assert 0 < hub.sent[weights.name] <= len(model.content(weights.name)) - HALF / 2
            drawn(page, WAIT_MS)
            entry = page.get_by_test_id("stChatInput").get_by_role("textbox")
            entry.fill("What is the capital of France?", timeout=WAIT_MS)
            entry.press("Enter")
            # Which city it names is the model's affair.
            page.get_by_text(re.compile(rf"\d+ tokens .* {ID} \(chatbot/1\)")).first.wait_for(timeout=WAIT_MS)
            assert len(page.get_by_test_id("stChatMessage").last.inner_text()) > 10
            drawn(page, WAIT_MS)
            shot(page, "hub-asked", tmp_path)
            assert TOKEN not in page.content()
        own = (address, address.replace("http", "ws"), "data:", "blob:")
        assert not [url for url in outside if not url.startswith(own)], "the browser asked another host"
        assert hub.seen_tokens == {"hub": {TOKEN}, "cdn": set()}
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in kept if path.stat().st_size < HALF and TOKEN.encode() in path.read_bytes()]


def shot(page: Any, name: str, folder: Path) -> None:
    """Save what is seen."""
    kept = os.environ.get("PROJECT_DL_SCREENSHOTS")
    place = PROJECT_ROOT / kept if kept else folder
    place.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)
    page.screenshot(path=place / f"{name}.png", full_page=True)
