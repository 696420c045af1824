"""A page within what all share: what is at work, in the browser's tab and as toasts, and readable errors."""

import logging
from typing import Any

import streamlit as st

from tasks.runs import give_up_soon
from ui import NAME
from ui.answers.batch import Batch
from ui.answers.batch_panel import BATCH
from ui.plain import escaped, visible
from ui.running.processes import FAILED, FINISHED, STOPPED, processes
from ui.session import services, show_errors

logger = logging.getLogger("ui")
REFRESH_S = 3
SEEN = "at-work"  # what was at work when this visitor's page last looked: titles by id
ICONS = {FAILED: ":material/error:", STOPPED: ":material/stop_circle:"}


def draw(page: Any, title: str) -> None:
    """Draw a page of Streamlit's navigation; whatever fails on it is shown as a readable error and logged in full.

    Args: title: for the browser's tab; empty for the first page.
    """
    give_up_soon()
    _watch(title)
    try:
        with show_errors():
            page.run()
    except Exception as error:
        logger.exception("the page %s failed", page.title)
        st.error(escaped(f"This page failed ({type(error).__name__}). The terminal of the tool says more."))
        st.button("Try again", key="retry-failed")
    services()  # it loads libraries in the background while the visitor reads the first page


def _watch(page: str) -> None:
    """Name in the tab the page and what is at work, and say what has ended; looks again while something is.

    Call it before the page is drawn, which may take as long as an answer.
    """
    busy = any(process.active for process in processes()) or any(one.running for one in _batches())
    st.fragment(_look, run_every=REFRESH_S if busy else None)(page)


def _look(page: str) -> None:
    found = {process.id: (process.title, process.state, process.active) for process in processes()}
    found |= {one.id: (f"{one.name}, {one.done} of {one.total} rows", one.state, one.running) for one in _batches()}
    before: dict[str, str] = st.session_state.get(SEEN, {})
    now = {identifier: title for identifier, (title, _, active) in found.items() if active}
    st.session_state[SEEN] = now
    for identifier in before.keys() - now.keys():
        title, state, _ = found.get(identifier, (before[identifier], FINISHED, False))
        st.toast(escaped(f"{title}: {state}"), icon=ICONS.get(state, ":material/check_circle:"), duration="long")
    st.set_page_config(page_title=tab_title(page, list(now.values())))


def _batches() -> list[Batch]:
    batch = st.session_state.get(BATCH)
    return [batch] if batch is not None else []


def tab_title(page: str, working: list[str]) -> str:
    """Such as `Chat · Project-DL`, and before it what is at work."""
    work = visible(working[0]) if len(working) == 1 else f"{len(working)} at work" if working else ""
    return " · ".join(part for part in (work, page, NAME) if part)
