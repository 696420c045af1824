"""How fast the tool is: `python -m tests.e2e.tool_times` prints medians. Nothing else should run on the machine.

- first page: from the first visit to a server that has just come up until the home page is drawn, each time on a new
  server;
- request, on the wire: from a click on Run until the server has sent a loaded model's answer, less the model's time:
  what the tool adds;
- request, drawn: the same until a browser has drawn it, with its layout and paint, in software where there is no GPU;
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
from tests.conftest import PROJECT_ROOT
from tests.e2e.test_browser import drawn
from tests.e2e.wire import WireVisitor
from tests.support.browsing import WIDE, browser, tool_running
from tests.support.small_platform import fill

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


def on_the_wire(environment: dict[str, str], folder: Path) -> list[float]:
    """Milliseconds until the server had sent answers of a loaded model, beside its own time."""
    with tool_running(environment, folder) as address:
        visitor = WireVisitor(address, "tasks", "task=sentiment-analysis")
        visitor.visit()
        overheads = []
        for number in range(REQUESTS + 1):
            text = "The film was" + " very" * number + " good."
            # The facts are Markdown, in which a hyphen is escaped.
            seconds, match = visitor.click("Run", {"Text": text}, FACTS.replace("-", r"\\?-"))
            overheads.append(seconds * 1000 - float(match[1]))
        visitor.close()
        return overheads[1:]  # the first one loads the model


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
            page.get_by_role("button", name=re.compile(r"Run\b")).click()
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
        for place, more in (
            ("on the wire", on_the_wire(environment, folder)),
            ("drawn", requests(chromium, environment, folder)),
        ):
            print(
                f"request, {place}: the model's own time and {statistics.median(more):.0f} ms, {min(more):.0f} to "
                f"{max(more):.0f} (n={REQUESTS})"
            )


if __name__ == "__main__":
    main()
