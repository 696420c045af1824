"""axe-core on every page of the tool, light and dark, wide and narrow: no violation of WCAG 2.2 AA is ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, NARROW, browser, drawn, tool_running

WIDE = {"width": 1440, "height": 900}
# `heading-order` is a best practice, and no criterion: headings that skip no level are how a screen reader navigates.
RULES = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "rules": {"heading-order": {"enabled": True}},
}
# What Streamlit's own markup violates: the rule, and the test id around it. This list is not to grow.
STREAMLITS = {("target-size", "stMultiSelectTagsContainer")}
AROUND = """selector => { const own = document.querySelector(selector);
    return [own?.closest('[data-testid]')?.dataset.testid ?? '', own?.outerHTML.slice(0, 150) ?? selector] }"""
ASK = "[class*=-example-0] button", "[class*=-run] button"
FILLED = "[...document.querySelectorAll('[data-testid=stMain] textarea')].some(one => one.value)"
# The pages, each with what is clicked before it is looked at.
PAGES: dict[str, tuple[str, ...]] = {
    "": (),
    "tasks?task=sentiment-analysis": (*ASK, "text=probability of"),
    "tasks?task=question-answering": (*ASK, "text=(question-answering/"),
    "tasks?task=image-generation": ("text=Start from a picture", "text=Several pictures", "text=Settings"),
    "chat": ("text=A short poem", "text=Regenerate"),
    "image": ("text=Example", "text=with a probability of"),
    "own": (),
    "compare": ("text=Leaderboard",),
    "networks": ("[role=tab] >> text=Layers",),
    "networks?left=vgg_small": ("text=What it sees", "text=Example", "text=Filters of the first layer"),
    "seq2seq": ("text=Random example", "text=numbers right", "text=The decoding, step by step"),
    "models": (),
    "runs": (),
    "results": (),
}
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def address(filled_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import mlflow

    from tests.support.logged_trainings import log_training

    folder = tmp_path_factory.mktemp("tool")
    database = folder / "mlflow.db"
    database.write_bytes(filled_store.read_bytes())
    uri = f"sqlite:///{database}"
    mlflow.set_tracking_uri(uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # artifacts lie beside where they are logged
        for model in ("lenet5", "alexnet_small"):
            log_training(model)
    mlflow.set_tracking_uri(None)
    with tool_running({"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(PROJECT_ROOT)}, folder) as address:
        yield address


def test_no_page_violates_wcag_in_what_is_ours(address: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    axe, ours, streamlits = Axe(), [], set()
    with browser() as chromium:
        for path, clicks in PAGES.items():
            context = chromium.new_context(viewport=WIDE)
            page = context.new_page()
            page.goto(f"{address}/{path}")
            drawn(page)
            for clicked in clicks:
                if clicked in ASK[1:]:
                    page.wait_for_function(FILLED)
                page.locator(clicked).first.click(timeout=ANSWER_MS)
                drawn(page)
            for scheme in ("light", "dark"):
                for size in (WIDE, NARROW):
                    page.emulate_media(color_scheme=scheme)
                    page.set_viewport_size(size)
                    drawn(page)
                    for rule, place, own in violations(axe, page):
                        if (rule, place) in STREAMLITS:
                            streamlits.add((rule, place))
                        else:
                            ours.append(f"{path} {scheme} {size['width']}: {rule} in {place}: {own}")
            context.close()
    assert not ours, "\n".join(ours)
    assert streamlits == STREAMLITS, "what Streamlit has mended leaves the list"


def violations(axe: Any, page: Any) -> Iterator[tuple[str, str, str]]:
    """The rule, the test id of the place and the element of each violation on a page."""
    for violation in axe.run(page, options=RULES).response["violations"]:
        for node in violation["nodes"]:
            place, own = page.evaluate(AROUND, node["target"][-1])
            yield violation["id"], place, own
