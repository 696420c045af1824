"""The chat page on a telephone, with SmolLM2: a document is attached and asked about.

With PROJECT_DL_SCREENSHOTS=FOLDER its screenshots go there. More of the chat is in test_walk.py.
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
from tests.support.browsing import ANSWER_MS, NARROW, drawn, tool_running
from tests.support.clicking import on_screen, say
from tests.support.documents import pdf

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The tool over a store with SmolLM2."""
    folder = tmp_path_factory.mktemp("tool")
    database = folder / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
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


def test_a_document_is_talked_about_on_a_dark_telephone(address: str, chromium: Any, save: Any, tmp_path: Path) -> None:
    document = tmp_path / "report.pdf"
    document.write_bytes(pdf([f"Page {number}. The bridge is closed until June. " * 3 for number in range(6)]))
    context = chromium.new_context(viewport=NARROW, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/chat")
    drawn(page)
    save(page, "chat-narrow-empty")
    page.locator("[data-testid=stChatInput] input[type=file]").set_input_files(document)
    page.get_by_text("report.pdf").first.wait_for(timeout=ANSWER_MS)
    say(page, "When does the bridge open?")
    page.get_by_text("report.pdf").first.wait_for(timeout=ANSWER_MS)
    page.get_by_text(re.compile(r"context [\d,]+ of [\d,]+ tokens")).wait_for(timeout=ANSWER_MS)
    on_screen(page)
    save(page, "chat-narrow-dark")
    context.close()
