"""What a user does on the tool's pages, in a real browser: says something, draws a digit, finds a table, waits."""

import re
import time
from collections.abc import Callable
from typing import Any

from tests.support.browsing import ANSWER_MS, drawn

SEVEN = [(0.25, 0.15), (0.75, 0.15), (0.4, 0.85)]  # parts of the canvas
LONG_S = 600


def come_back(page: Any, address: str, ready: str) -> None:
    """Open a page again until there is something on it that can be used."""
    deadline = time.monotonic() + LONG_S
    page.goto(address)
    drawn(page)
    while not page.locator(ready).count():
        assert time.monotonic() < deadline, f"{address} has no {ready}"
        page.goto(address)
        drawn(page)


def run(page: Any) -> None:
    """Press the page's Run."""
    page.get_by_role("button", name=re.compile(r"Run\b")).click()


def type_text(page: Any, text: str) -> None:
    """Write into the first field."""
    field = page.get_by_role("textbox").first
    field.fill(text)
    field.press("Tab")
    drawn(page)


def say(page: Any, text: str) -> None:
    """Send a message, and wait until its reply is over."""
    before = page.get_by_test_id("stChatMessage").count()
    field = page.get_by_test_id("stChatInputTextArea")
    field.fill(text)
    field.press("Enter")
    page.wait_for_function(
        "count => document.querySelectorAll('[data-testid=stChatMessage]').length >= count + 2",
        arg=before,
        timeout=ANSWER_MS,
    )
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="detached", timeout=ANSWER_MS)
    drawn(page)


def on_screen(page: Any) -> None:
    """The field to write in, and the end of the last reply above it, are seen without scrolling."""
    height = page.viewport_size["height"]
    field = page.get_by_test_id("stChatInput").bounding_box()
    assert field["y"] >= 0 and field["y"] + field["height"] <= height, field
    last = page.get_by_test_id("stChatMessage").last.bounding_box()
    assert last["y"] < field["y"] and last["y"] + last["height"] > 0, (last, field)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def draw_seven(page: Any, seen: Callable[[Any], None] = lambda _page: None) -> None:
    """Draw a digit with the mouse, and wait for what the networks say. Args: seen: is called after each stroke."""
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=ANSWER_MS)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in SEVEN]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=15)
        seen(page)
    page.mouse.up()
    page.get_by_text("with a probability of").first.wait_for(timeout=ANSWER_MS)
    drawn(page)


def table(page: Any, key: str) -> Any:
    """The table of a key, once it is there to be clicked."""
    found = page.locator(f".st-key-{key} [data-testid=stDataFrame] .dvn-scroller").first
    found.wait_for(timeout=ANSWER_MS)
    found.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # it draws itself after it is there
    return found
