"""How fast the tool is: `python -m tests.e2e.tool_times` prints medians. Nothing else should run on the machine.

- first page: from the first visit to a server that has just come up until the home page is drawn, each time on a new
  server;
- request, on the wire: from a click on Run until the server has sent a loaded model's answer, less the model's time:
  what the tool adds;
- request, drawn: the same until a browser has drawn it, with its layout and paint, in software where there is no GPU;
- runs: until the page of runs is drawn, over a store of 100 runs;
- memory: of the server after 200 questions beside that after 20.
"""

import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
import psutil

from tasks.runs import open_store
from tests.conftest import PROJECT_ROOT
from tests.e2e.wire import WireVisitor
from tests.support.browsing import WIDE, browser, drawn, tool_process, tool_running
from tests.support.clicking import run
from tests.support.logged_trainings import log_training
from tests.support.small_platform import fill

SERVERS, REQUESTS, RUNS = 5, 15, 100
FEW, MANY = 20, 200  # questions
SEEN = """([pattern, old]) => { const found = [...document.querySelectorAll('[data-testid=stCaptionContainer]')]
    .map(e => e.innerText).find(t => t.match(new RegExp(pattern))); return found && found !== old ? found : null }"""
DONE = "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
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


def on_the_wire(environment: dict[str, str], folder: Path) -> tuple[list[float], list[float]]:
    """Milliseconds until the server had sent answers of a loaded model, beside its own time; and the server's memory
    after `FEW` and after `MANY` questions, in bytes."""
    with tool_process(environment, folder) as server:
        visitor = WireVisitor(server.address, "tasks", "task=sentiment-analysis")
        visitor.visit()
        overheads, memory = [], []
        for number in range(1, MANY + 1):
            text = f"The film was{' very' * (number % 20)} good, number {number}."
            # The facts are Markdown, in which a hyphen is escaped.
            seconds, match = visitor.click("Run", {"Text": text}, FACTS.replace("-", r"\\?-"))
            overheads.append(seconds * 1000 - float(match[1]))
            if number in (FEW, MANY):
                memory.append(psutil.Process(server.process.pid).memory_info().rss)
        visitor.close()
        return overheads[1:], memory  # the first one loads the model


def page_of_runs(chromium: Any, environment: dict[str, str], folder: Path) -> list[float]:
    """Seconds until the page of runs is drawn; the server has drawn it before."""
    with tool_running(environment, folder) as address:
        page = chromium.new_page(viewport=WIDE)
        found = []
        for _ in range(SERVERS + 1):
            page.goto(address)
            drawn(page)
            started = time.perf_counter()
            page.get_by_role("link", name="Runs", exact=True).click()
            page.get_by_role("heading", name="Runs", exact=True).wait_for()
            page.wait_for_function(DONE, polling=10)
            found.append(time.perf_counter() - started)
        return found[1:]


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
            run(page)
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
        print(f"first page: {spread(pages, 's', 2)}; goal 2.0 s")
        overheads, (few, many) = on_the_wire(environment, folder)
        print(f"request, on the wire: the model's own time and {spread(overheads, 'ms')}")
        print(f"request, drawn: the model's own time and {spread(requests(chromium, environment, folder), 'ms')}")
        grown = f"{few / 1e6:.0f} MB after {FEW} questions, {many / 1e6:.0f} after {MANY}"
        print(f"memory: {grown}: {many / few - 1:+.1%}; goal at most +10%")
        mlflow.set_tracking_uri(environment["MLFLOW_TRACKING_URI"])
        for number in range(RUNS):
            log_training("lenet5", seed=number, reports=False)
        print(f"page of {RUNS} runs: {spread(page_of_runs(chromium, environment, folder), 's', 2)}; goal 1 s")
        print(f"load of the machine: {', '.join(f'{one:.1f}' for one in os.getloadavg())}")


def spread(values: list[float], unit: str, digits: int = 0) -> str:
    """Median and range as text."""
    median, least, most = (f"{one:.{digits}f}" for one in (statistics.median(values), min(values), max(values)))
    return f"median {median} {unit}, {least} to {most} (n={len(values)})"


if __name__ == "__main__":
    main()
