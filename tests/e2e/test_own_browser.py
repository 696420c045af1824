"""In a real browser: own pictures and own texts, looked at, trained on, and one of them given to what came of it.

With PROJECT_DL_SCREENSHOTS=FOLDER the screenshots go there.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, WIDE, drawn, tool_running
from tests.support.own_pictures import files, in_folder, picture

pytestmark = pytest.mark.full
LONG_MS = 300_000
NAME = "reviews-of-the-test.csv"


@pytest.fixture
def address(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    with tool_running(environment, tmp_path) as address:
        yield address
    for decoded in (PROJECT_ROOT / "data/cache").glob("pets-of-the-test-*"):
        decoded.unlink()
    (PROJECT_ROOT / "data/own" / NAME).unlink(missing_ok=True)


def test_own_pictures_become_a_network_that_knows_them(address: str, chromium: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path))
    path = in_folder(tmp_path / "pets-of-the-test", files(30, ("cat", "dog", "owl")) | {"cat/notes.txt": b"x"})
    page = chromium.new_context(viewport=WIDE).new_page()
    page.goto(f"{address}/own")
    drawn(page)
    ways = page.get_by_role("radiogroup", name="Your pictures")
    assert ways.evaluate("group => group.scrollWidth <= group.clientWidth")  # the last one is not cut off
    page.get_by_role("radio", name="Kept or path").click()
    drawn(page)
    box = page.get_by_role("combobox", name="Path")
    box.fill(path)
    box.press("Enter")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_text("90 color pictures of 3 classes").wait_for(timeout=ANSWER_MS)
    page.get_by_text("1 file left out").wait_for()
    page.get_by_label("Epochs").fill("4")
    page.get_by_label("Epochs").press("Enter")
    drawn(page)
    page.get_by_role("button", name="Train", exact=True).click()
    trained = page.get_by_role("link", name=re.compile(" with .*, version 1"))
    trained.wait_for(timeout=LONG_MS)
    drawn(page)
    page.set_viewport_size({"width": WIDE["width"], "height": 1500})
    drawn(page)
    page.screenshot(path=folder / "own-data.png")
    trained.click()
    drawn(page)
    owl = {"name": "owl.png", "mimeType": "image/png", "buffer": picture("owl", 4444, (120, 90))}
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(owl)  # type: ignore[arg-type]
    drawn(page)
    page.get_by_role("button", name="Run").click()
    page.get_by_text("with a probability of").wait_for(timeout=ANSWER_MS)
    assert page.get_by_text("owl").count()
    page.screenshot(path=folder / "own-data-tried.png")


def test_own_texts_become_a_model_that_knows_them(address: str, chromium: Any, tmp_path: Path) -> None:
    folder = Path(os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path))
    words = {"praise": "wonderful", "blame": "dreadful", "time": "in 1999"}
    rows = [f"The film of the test {number} was {words[label]},{label}" for number in range(20) for label in words]
    page = chromium.new_context(viewport=WIDE).new_page()
    page.goto(f"{address}/own")
    drawn(page)
    page.get_by_role("tab", name="Texts").click()
    drawn(page)
    file = {"name": NAME, "mimeType": "text/csv", "buffer": "\n".join(["text,label", *rows]).encode()}
    page.get_by_label("Texts").get_by_test_id("stFileUploaderDropzoneInput").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_text("60 texts of 3 classes").wait_for(timeout=ANSWER_MS)
    page.get_by_label("Epochs").last.fill("3")
    page.get_by_label("Epochs").last.press("Enter")
    page.get_by_text("less if it ends early").wait_for(timeout=ANSWER_MS)
    page.get_by_role("button", name="Train", exact=True).last.click()
    known = page.get_by_role("link", name=re.compile("Sentiment.* with .*, version 1"))
    known.wait_for(timeout=LONG_MS)
    drawn(page)
    page.set_viewport_size({"width": WIDE["width"], "height": 1500})
    drawn(page)
    page.screenshot(path=folder / "own-texts.png")
    known.click()
    drawn(page)
    page.get_by_role("textbox", name="Text").fill("The film was dreadful")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("blame").first.wait_for(timeout=ANSWER_MS)
    page.screenshot(path=folder / "own-texts-tried.png")
