"""The tool as the user sees it: a real server, a real browser, models that were trained for it. Saves the screenshots.

With PROJECT_DL_SCREENSHOTS=docs/screenshots they replace those that the README shows.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.browsing import ANSWER_MS, NARROW, WIDE, drawn, tool_running
from tests.support.clicking import draw_seven, run, say, type_text
from tests.support.documents import pdf, word
from tests.support.film import Film
from ui.panels.summarization import BRIDGE

TRAININGS = (
    ["experiments.compare", "--models", "lenet5,alexnet_small", "--datasets", "digits", "--epochs", "8"],
    ["experiments.train_seq2seq", "--cell", "transformer", "--positions", "relative", "--max_length", "10",
     "--vocab_size", "10", "--train_size", "4000", "--epochs", "25", "--hidden_size", "32", "--probe_size", "50"],
    # The models that are there without the Hub; one of them twice.
    ["experiments.register", "--task", "all"],
    ["experiments.register", "--task", "next-word-prediction"],
)  # fmt: skip
# What is seen of each starter's answer to its first example.
ANSWERS = {
    "sentiment-analysis": "text=POSITIVE with a probability of",
    "summarization": "text=Summary",
    "next-word-prediction": "[data-testid=stMain] strong",
    "story-completion": "text=/\\d+ tokens · .* SmolLM2/",
    "question-answering": "mark",
    "image-generation": "img[alt='Picture of: a sneaker']",
}
STARTERS = {"sentiment-analysis": "sentiment"}  # the folders that are not called as their task
QUESTION = "What is the capital of France?"
pytestmark = pytest.mark.full
Open, Save = Callable[..., Any], Callable[..., None]  # the fixtures `open_page` and `save`


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, str]:
    """The environment of a store with trained networks, the starters, and a writer that can be stopped."""
    from tests.support.small_platform import add_long_writer, registering

    database = tmp_path_factory.mktemp("tool") / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(PROJECT_ROOT)}
    for training in TRAININGS:
        threads = [] if training[0].endswith("register") else ["--threads", "2"]
        command = [sys.executable, "-m", *training, *threads]
        told = {**os.environ, **environment}
        subprocess.run(command, env=told, cwd=database.parent, check=True, capture_output=True, timeout=600)
    with registering(database) as add:
        add_long_writer(add)
    return environment


@pytest.fixture(scope="module")
def address(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with tool_running(environment, tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def open_page(chromium: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A function that opens a page of the tool as a new visitor and waits until it is drawn."""
    contexts, outside = [], []

    def go(path: str = "", viewport: dict[str, int] = WIDE, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(ANSWER_MS)
        page = context.new_page()
        page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
        page.on("request", lambda request: outside.append(request.url) if address not in request.url else None)
        page.goto(f"{address}/{path}")
        drawn(page)
        return page

    yield go
    for context in contexts:
        context.close()
    elsewhere = [url for url in outside if not url.startswith(("data:", "blob:", address.replace("http", "ws")))]
    assert not elsewhere, "the tool works offline"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder of pictures."""
    folder = PROJECT_ROOT / os.environ.get("PROJECT_DL_SCREENSHOTS", tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def save(pictures: Path) -> Save:
    """A function that saves a screenshot under a name, of the first screen or of a window of this height."""

    def screenshot(page: Any, name: str, height: int | None = None) -> None:
        if height:
            page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
            page.wait_for_timeout(1000)
            # The page has followed its answer; in this window it may be seen from its title on.
            page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
        page.screenshot(path=pictures / f"{name}.png")
        assert (pictures / f"{name}.png").stat().st_size > 10_000

    return screenshot


def test_the_first_page_is_there_soon(open_page: Open, save: Save) -> None:
    started = time.monotonic()
    page = open_page()
    # 3 s on a quiet machine (docs/results); this only tells a page that hangs from one that comes.
    assert time.monotonic() - started < 30
    assert page.get_by_text("What you can do now").is_visible()
    save(page, "home")


def test_a_story_streams_and_stops_and_goes_on(open_page: Open, save: Save) -> None:
    page = open_page("tasks?task=story-completion&model=story-completion/2")  # which ends only when it is stopped
    type_text(page, "Once upon a time <script>alert(1)</script>")
    page.get_by_text("Settings").click()
    tokens = page.get_by_role("spinbutton", name="Max new tokens")
    tokens.fill("900")
    tokens.press("Tab")
    drawn(page)
    page.get_by_role("textbox").first.press("Control+Enter")
    page.get_by_text(re.compile(r"writing · \d+ tokens")).wait_for()
    page.get_by_test_id("stMain").get_by_role("button", name="Stop", exact=True).click()
    stopped = page.get_by_text(re.compile(r"stopped · \d+ tokens"))
    stopped.wait_for()
    written = int(re.search(r"(\d+) tokens", stopped.inner_text())[1])  # type: ignore[index]
    assert 0 < written < 900
    page.get_by_role("button", name="Continue").click()
    page.get_by_text(re.compile(r"writing · \d+ tokens")).wait_for()


@pytest.mark.parametrize("task", ANSWERS)
def test_every_task_is_answered_by_its_starter(open_page: Open, save: Save, task: str) -> None:
    page = open_page(f"tasks?task={task}&model={task}/1")
    trained_here = (PROJECT_ROOT / "starters" / STARTERS.get(task, task)).exists()
    assert page.get_by_text("trained by this project").count() == trained_here
    page.locator("[class*='-example-0'] button").click()
    drawn(page)
    run(page)
    page.locator(ANSWERS[task]).first.wait_for()
    page.get_by_text(re.compile(rf"(starter-[a-z-]+|SmolLM2-135M-Instruct) \({task}/1\)")).first.wait_for()
    drawn(page)
    composer = page.get_by_test_id("stBaseButton-primary").bounding_box()
    assert composer["y"] + composer["height"] <= page.viewport_size["height"]
    save(page, f"task-{task}", 1400)


def test_a_question_is_answered_in_chat(open_page: Open, save: Save) -> None:
    page = open_page("chat")
    say(page, QUESTION)
    assert "Paris" in page.get_by_test_id("stChatMessage").last.inner_text()
    save(page, "task-chatbot")


def test_two_models_answer_side_by_side(open_page: Open, save: Save) -> None:
    page = open_page("tasks?task=next-word-prediction&model=next-word-prediction/1")
    page.get_by_text("Side by side with a second model").click()
    drawn(page)
    type_text(page, "Once upon a time there was a little")
    run(page)
    for version in (1, 2):
        page.get_by_text(f"(next-word-prediction/{version})").first.wait_for()
    drawn(page)
    save(page, "side-by-side", 1150)


def test_a_drawn_digit_is_classified_by_every_champion(open_page: Open, save: Save) -> None:
    page = open_page("image")
    draw_seven(page)
    save(page, "draw", 1000)


def test_the_comparison_has_its_leaderboard_and_charts(open_page: Open, save: Save) -> None:
    page = open_page("compare")
    page.get_by_role("heading", name="Leaderboard").wait_for()
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first.wait_for()
    save(page, "compare", 1600)


def test_a_network_is_looked_into(open_page: Open, save: Save) -> None:
    page = open_page("networks?left=vgg_small&right=seresnet20")
    page.locator("[data-testid=stGraphVizChart] svg").nth(1).wait_for()
    save(page, "networks", 1300)
    page.get_by_text("What it sees").click()
    drawn(page)
    page.get_by_text("Example", exact=True).click()
    page.get_by_text("Filters of the first layer").wait_for()
    drawn(page)
    save(page, "feature-maps", 1300)


def test_attention_is_drawn_for_typed_numbers(open_page: Open, save: Save) -> None:
    page = open_page("seq2seq")
    numbers = page.get_by_role("textbox", name="Numbers")
    numbers.fill("3 1 4 1 5 9 2 6")
    numbers.press("Enter")
    drawn(page)
    page.get_by_text("Reversed without a mistake").first.wait_for()
    drawn(page)
    save(page, "attention", 1700)
    page.get_by_text("The decoding, step by step").first.click()
    page.get_by_role("slider", name="Step").first.press("ArrowRight")
    page.get_by_text("In step 2 the network writes 2").first.wait_for()
    drawn(page)
    save(page, "decoding-steps", 2200)


def test_a_question_is_answered_from_several_documents(open_page: Open, save: Save, tmp_path: Path) -> None:
    bridge, letter = tmp_path / "bridge.pdf", tmp_path / "letter.docx"
    bridge.write_bytes(pdf([BRIDGE, "The council met on Tuesday."]))
    letter.write_bytes(word("Dear Ada", "The ferry to the island leaves at noon."))
    page = open_page("tasks?task=question-answering&model=question-answering/1")
    page.get_by_role("button", name="Read documents").click()
    page.locator("input[type=file]").set_input_files([bridge, letter])
    page.get_by_text("=== letter.docx ===").wait_for()
    page.keyboard.press("Escape")
    question = page.get_by_role("textbox", name="Question")
    question.fill("How much will the repair cost?")
    question.press("Control+Enter")
    page.get_by_text("bridge.pdf, passage 1 of 2").first.wait_for()
    drawn(page)
    assert any("three million euros" in mark for mark in page.locator("mark").all_inner_texts())
    save(page, "documents", 1300)


def test_a_click_draws_a_grid_of_pictures(open_page: Open, save: Save) -> None:
    page = open_page("tasks?task=image-generation&model=image-generation/1")
    page.get_by_text("A sneaker").click()
    page.get_by_text("Several pictures").click()
    page.get_by_text("Steps × guidance").click()
    drawn(page)
    run(page)
    page.locator("img[alt='Picture of: a sneaker']").nth(8).wait_for()
    drawn(page)
    save(page, "picture-grid", 2400)


@pytest.mark.parametrize(
    "path", ["", "tasks", "chat", "image", "compare", "networks", "seq2seq", "models", "runs", "results"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_telephone_or_fails_on_it(open_page: Open, path: str, scheme: str) -> None:
    page = open_page(path, NARROW, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert not page.get_by_text("This page failed").count()


def test_a_text_can_be_judged_with_the_keyboard_alone(open_page: Open) -> None:
    page = open_page("tasks?task=sentiment-analysis")
    page.get_by_role("textbox").first.focus()
    page.keyboard.type("What a wonderful day!")
    for _ in range(12):
        page.keyboard.press("Tab")
        page.wait_for_timeout(150)
        if "Run" in page.evaluate("document.activeElement.innerText").split():
            break
    drawn(page)
    page.keyboard.press("Enter")
    page.get_by_text(re.compile(r"\(sentiment-analysis/")).wait_for()


def test_a_film_shows_a_chat_a_drawn_digit_and_a_comparison(open_page: Open, pictures: Path) -> None:
    film, page = Film(), open_page("chat", {"width": 1100, "height": 700})
    film.take(page, 1000)
    field = page.get_by_test_id("stChatInputTextArea")
    for letters in range(0, len(QUESTION), 5):
        field.press_sequentially(QUESTION[letters : letters + 5])
        film.take(page)
    field.press("Enter")
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.wait_for()
    while stop.is_visible():
        film.take(page)
    drawn(page)
    assert page.get_by_test_id("stChatMessage").count() == 2
    film.take(page, 2000)
    page.get_by_role("link", name="Draw and classify").click()
    drawn(page)
    draw_seven(page, film.take)
    film.take(page, 2500)
    page.get_by_role("link", name="Compare CNNs").click()
    page.get_by_role("heading", name="Leaderboard").wait_for()
    drawn(page)
    film.take(page, 2500)
    film.save(pictures / "tool.gif")
    assert len(film.frames) > 10 and 50_000 < (pictures / "tool.gif").stat().st_size < 2_000_000
