"""In a real browser: a comparison, its report, a click into its mistakes, the table of all runs, a blind vote."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tasks.runs.listing import runs_table
from tasks.runs.trainings import classifier_predictions
from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, NARROW, WIDE, drawn, run, tool_running
from tests.support.logged_trainings import log_comparison
from tests.support.small_platform import add_texts, registering

pytestmark = pytest.mark.full
TASK = "story-completion"
ROW = 35  # pixels of a table's line
LONG_MS = 300_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store with two models that write stories."""
    database = tmp_path_factory.mktemp("tool") / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    with registering(database) as add:
        add_texts(add, [TASK])
    return database


@pytest.fixture(scope="module")
def address(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    with tool_running(environment, tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any, str], None]:
    folder = Path(os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True) and None


def canvas(page: Any, key: str) -> Any:
    """The table of a key, once it is there to be clicked."""
    found = page.locator(f".st-key-{key} [data-testid=stDataFrame] .dvn-scroller").first
    found.wait_for(timeout=ANSWER_MS)
    found.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # it draws itself after it is there
    return found


def test_a_comparison_is_started_read_and_found_again(
    chromium: Any, address: str, database: Path, save: Callable[[Any, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = chromium.new_page(viewport=WIDE)
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
    page.wait_for_function("document.title.startsWith('Comparison')", timeout=ANSWER_MS)
    page.get_by_test_id("stToast").get_by_text("finished").wait_for(timeout=LONG_MS)
    page.get_by_text("Curves and log").first.click()
    page.get_by_role("link", name="Open the run").click(timeout=ANSWER_MS)

    page.wait_for_url(re.compile(r"/run\?run=[0-9a-f]{32}$"))
    drawn(page)
    report = page.frame_locator("iframe[title='Report reports/comparison.html']")
    report.get_by_role("heading", level=1).wait_for(timeout=ANSWER_MS)
    save(page, "run-report")
    report.get_by_role("link", name="How it was measured").click()  # within the report, not away from it
    assert report.get_by_role("heading", name="How it was measured").is_visible()
    assert report.locator("body").evaluate("body => body.ownerDocument.defaultView.scrollY") > 0

    page.get_by_role("link", name="All runs").first.click()
    drawn(page)
    save(page, "all-runs")
    canvas(page, "all-runs").click(position={"x": 15, "y": ROW * 3 // 2})  # the newest: the training of the comparison
    page.get_by_role("heading", name="Confusion matrix").wait_for(timeout=ANSWER_MS)
    drawn(page)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    run_id = re.search("run=([0-9a-f]+)", page.url)[1]  # type: ignore[index]
    newest = runs_table().iloc[0]
    counts = classifier_predictions(run_id).confusion()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert newest["run_id"] == run_id and newest["tags.model"] == "lenet5"
    true, said = next((int(a), int(b)) for a, b in zip(*counts.nonzero(), strict=True) if a != b)
    matrix = canvas(page, f"confusion-{run_id}")
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
    for name, viewport, scheme in (("narrow", NARROW, "light"), ("dark", WIDE, "dark")):
        other = chromium.new_context(viewport=viewport, color_scheme=scheme).new_page()
        for path in ("results", f"run?run={run_id}", f"run?run={newest['tags.mlflow.parentRunId']}"):
            other.goto(f"{address}/{path}")
            drawn(other)
            other.wait_for_timeout(1500)
            assert other.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert not other.get_by_text("This page failed").count()
            save(other, f"{name}-{path.partition('=')[2][:4] or path}")
    page.close()


def test_a_report_leads_nowhere(chromium: Any, address: str, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{elsewhere.server_port}"
        monkeypatch.chdir(database.parent)  # its artifacts go where it is
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        run_id = log_comparison(
            "links",
            f"<img src={where}/image><script>fetch('{where}/script')</script>"
            f"<meta http-equiv=refresh content='0;url={where}/refresh'>"
            + "".join(f"<p><a target={name} href={where}/{name}>{name}</a>" for name in ("_blank", "_top", "_self")),
        )
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        page = chromium.new_page(viewport=WIDE)
        page.goto(f"{address}/run?run={run_id}")
        drawn(page)
        report = page.frame_locator("iframe[title='Report reports/comparison.html']")
        for name in ("_blank", "_top", "_self"):
            report.get_by_role("link", name=name).click()
        report.get_by_text("blocked").first.wait_for(
            state="attached", timeout=ANSWER_MS
        )  # by the browser, which says so
        page.get_by_role("link", name="All runs").first.click()
        drawn(page)
        page.close()
        elsewhere.shutdown()
    assert not asked


def test_two_models_are_compared_blindly(chromium: Any, address: str, save: Callable[[Any, str], None]) -> None:
    page = chromium.new_page(viewport=WIDE)
    page.goto(f"{address}/tasks?task={TASK}")
    drawn(page)
    page.get_by_text("Blind A/B").click()
    drawn(page)
    page.locator("[class*='-example-0'] button").click()
    drawn(page)
    page.get_by_text("Settings").click()
    tokens = page.get_by_role("spinbutton", name="Max new tokens")
    tokens.fill("8")  # all that these models have room for
    tokens.press("Tab")
    drawn(page)
    run(page)
    page.get_by_role("heading", name="Which answer is better?").wait_for(timeout=ANSWER_MS)
    assert page.get_by_text(re.compile(r"tokens/s")).count() == 0
    save(page, "blind")
    page.get_by_role("button", name="Left", exact=True).click()
    page.get_by_text("Your vote is kept").wait_for(timeout=ANSWER_MS)
    drawn(page)
    assert page.get_by_text(re.compile(r"tokens/s.*story-completion/")).count() == 2
    page.get_by_role("tab", name="Leaderboard").click()
    page.get_by_text("1 blind vote.").wait_for(timeout=ANSWER_MS)
    drawn(page)
    save(page, "leaderboard")
    page.close()
