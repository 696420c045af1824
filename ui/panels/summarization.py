"""Summarization on the page: the summary beside its source."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from tasks.texts import count_words
from ui.documents.field import document_field
from ui.panels.base import Example, Panel, text_field, text_of
from ui.plain import escaped

SOURCE_HEIGHT = 320
LONG_SOURCE = 1200  # characters

BRIDGE = (
    "The old bridge over the river was closed on Monday after engineers found cracks in two of its pillars. "
    "About nine thousand people cross it every day on their way to work, most of them by bus or bicycle. "
    "The city had planned to repair the bridge next year, but a storm in March widened the cracks faster than "
    "expected. A ferry will run every ten minutes from six in the morning until midnight, and it is free. "
    "The mayor said that the repair should take four months and cost about three million euros, half of it paid "
    "by the region. Shop owners near the bridge fear for their business and ask for help with their rents."
)
BEES = (
    "Honeybees tell each other where to find food by dancing. A bee that comes home from a rich meadow runs a short "
    "line on the comb while it shakes its body, turns, and runs the line again. The angle of the line against the "
    "vertical is the angle between the meadow and the sun, and the longer the bee shakes, the farther away the food "
    "is. Karl von Frisch worked this out by painting small marks on bees and watching them for years; in 1973 he "
    "received the Nobel Prize for it. Later experiments with a mechanical bee showed that others understand the "
    "dance: they flew to the place that the machine described."
)


class SummarizationPanel(Panel):
    """A long text in, a short one out."""

    purpose = "The gist of a long text in a few sentences."
    about = "Summarizes a long text in a few sentences. Texts of any length are read part by part."
    examples = (Example("A closed bridge", {"text": BRIDGE}), Example("Dancing bees", {"text": BEES}))

    def row(self, key: str) -> dict[str, Any]:
        document_field(f"{key}-text")
        return {"text": text_field("Text", f"{key}-text", height=200, placeholder="An article, a report, a chapter")}

    def draw_coming(self, row: Row, events: Sequence[Row], key: str) -> None:  # noqa: ARG002
        if text_of(events):
            draw_beside(text_of(events), row["text"])

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        draw_beside(result["summary"], row["text"])
        said, words = count_words(result["summary"]), count_words(row["text"])
        parts = f", read in {result['chunks']} parts" if result["chunks"] > 1 else ""
        cut = ". It ended at the length limit: raise max length" if result["finish_reason"] == "length" else ""
        st.caption(f"From {words:,} to {said:,} words ({result['compression']:.0%}){parts}{cut}.")


def draw_beside(summary: str, source: str) -> None:
    """A summary and its source in two columns, one below the other on a phone."""
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.caption("Summary")
        st.markdown(escaped(summary) or "Nothing was written.")
    # Scrolled, so that a long source does not push away what follows; its key lets the keyboard reach it.
    with right, st.container(border=True, height=SOURCE_HEIGHT if len(source) > LONG_SOURCE else "content"):
        st.caption("Source")
        st.markdown(escaped(source))
