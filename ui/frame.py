"""A page within what all pages share: what is at work in the browser's tab, and failures told in plain words."""

import logging
from typing import Any

import streamlit as st

from tasks.runs import give_up_soon
from ui.at_work import watch
from ui.plain import escaped
from ui.session import services, show_errors

logger = logging.getLogger("ui")


def draw(page: Any, title: str) -> None:
    """Draw a page of Streamlit's navigation; whatever fails on it is told in plain words and logged in full.

    Args: title: for the browser's tab; empty for the first page.
    """
    give_up_soon()
    watch(title)
    try:
        with show_errors():
            page.run()
    except Exception as error:
        logger.exception("the page %s failed", page.title)
        st.error(escaped(f"This page failed ({type(error).__name__}). The terminal of the tool says more."))
        st.button("Try again", key="retry-failed")
    services()  # it loads libraries in the background while the visitor reads the first page
