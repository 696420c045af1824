"""How fast the tool is: `python -m tests.e2e.tool_times` prints medians. Nothing else should run on the machine.

- first page: from the first visit to a server that has just come up until the home page is drawn, each time on a new
  server;
- request: from a click on Run until a loaded model's answer is drawn, less what the model itself took;
- pages: how often a model was loaded while a visitor went through all pages and came back.
"""

import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow

from tasks.runs import open_store
from tests.browsing import WIDE, browser, tool_running
from tests.conftest import PROJECT_ROOT
from tests.e2e.test_browser import drawn
from tests.small_platform import fill

SERVERS, REQUESTS = 5, 15
SEEN = """([pattern, old]) => { const found = [...document.querySelectorAll('[data-testid=stCaptionContainer]')]
    .map(e => e.innerText).find(t => t.match(new RegExp(pattern))); return found && found !== old ? found : null }"""
FACTS = r"(\d+) ms .*sentiment-analysis/"


def first_page(chromium: Any, environment: dict[str, str], folder: Path) -> float:
    """Seconds until the first visitor of a new server sees the home page."""
    with tool_running(environment, folder) as address:
        page = chromium.new_page(viewport=WIDE)
        started = time.perf_counter()
        page.goto(address)
        page.get_by_text("What you can do now").wait_for(timeout=60_000)
        seconds = time.perf_counter() - started
        page.close()
        return seconds


def requests(chromium: Any, environment: dict[str, str], folder: Path) -> list[float]:
    """Milliseconds that answers of a loaded model took beside its own time."""
    with tool_running(environment, folder) as address:
        page = chromium.new_page(viewport=WIDE)
        page.goto(f"{address}/tasks?task=sentiment-analysis")
        drawn(page)
        overheads, last = [], ""
        for number in range(REQUESTS + 1):
            # Each with other facts (tokens), to tell its answer from the one before.
            page.get_by_role("textbox").first.fill("The film was" + " very" * number + " good.")
            page.get_by_role("textbox").first.press("Tab")
            drawn(page)
            started = time.perf_counter()
            page.get_by_role("button", name="Run", exact=True).click()
            last = page.wait_for_function(SEEN, arg=[FACTS, last], polling=2).json_value()
            taken = (time.perf_counter() - started) * 1000
            overheads.append(taken - float(re.search(FACTS, last)[1]))  # type: ignore[index]
        return overheads[1:]  # the first one loads the model


def main() -> None:
    """Measure, and print a line each."""
    with tempfile.TemporaryDirectory() as temporary, browser() as chromium:
        folder = Path(temporary)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        open_store()
        fill(folder / "mlflow.db")
        environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PYTHONPATH": str(PROJECT_ROOT)}
        pages = [first_page(chromium, environment, folder) for _ in range(SERVERS)]
        print(
            f"first page: median {statistics.median(pages):.2f} s, {min(pages):.2f} to {max(pages):.2f} (n={SERVERS})"
        )
        more = requests(chromium, environment, folder)
        print(f"request: the model's own time and {statistics.median(more):.0f} ms, {min(more):.0f} to {max(more):.0f} "
              f"(n={REQUESTS})")  # fmt: skip


if __name__ == "__main__":
    main()
