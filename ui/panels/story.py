"""Story completion on the page: what was given and what the model wrote, told apart, and continuing from there."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.panels.base import Example, Panel, text_field, text_of
from ui.plain import escaped_html

MODELS_OWN = "background:rgba(61,125,219,0.16);border-radius:3px;padding:0.1em 0"


class StoryPanel(Panel):
    """The beginning of a story in, its continuation out."""

    purpose = "Begin a story and watch it being written."
    about = "Continues a story. Continue adds to what was written; edit the beginning and run it again at any time."
    examples = (
        Example("The lighthouse", {"text": "The lamp of the lighthouse had not been lit for ten years, until that"}),
        Example("A cat and the moon", {"text": "Once upon a time there was a cat who looked at the moon and"}),
        Example("A letter", {"text": "The letter had no stamp and no name on it. Inside was only one sentence:"}),
    )

    def row(self, key: str) -> dict[str, Any]:
        return {"text": text_field("Beginning", f"{key}-text", placeholder="Once upon a time")}

    def continued(self, row: Row, text: str) -> Row | None:
        return {"text": row["text"] + text} if text else None

    def draw_coming(self, row: Row, events: Sequence[Row], key: str) -> None:  # noqa: ARG002
        draw_story(row["text"], text_of(events))

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        draw_story(row["text"], result["completion"])
        if result["truncated"]:
            st.caption("The text was too long; only its end was used.")
        ends = {"length": "It stopped at the length limit.", "stop": "It finished."}
        st.caption(f"Highlighted text was written by the model. {ends.get(result['finish_reason'], '')}")


def draw_story(beginning: str, completion: str) -> None:
    """One running text whose second part is tinted, and heavier, so that it does not depend on color alone."""
    written = f'<span style="{MODELS_OWN};font-weight:500">{escaped_html(completion)}</span>' if completion else ""
    given = f'<span style="opacity:0.75">{escaped_html(beginning)}</span>'
    st.html(f'<p style="line-height:1.7;overflow-wrap:anywhere">{given}{written}</p>')
