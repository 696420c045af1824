"""Question answering on the page: the answer where it stands in the text."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.documents.field import document_field
from ui.panels.base import Example, Panel, text_field
from ui.panels.summarization import BEES, BRIDGE
from ui.plain import escaped, escaped_html

LONG_CONTEXT = 1500  # characters: of a longer one, what is around the answers is shown first
AROUND = 300
BEST = "background:rgba(245,180,0,0.38);color:inherit;border-bottom:2px solid rgba(200,140,0,0.9)"
OTHER = "background:rgba(128,128,128,0.22);color:inherit;border-bottom:2px dotted currentColor"


class QuestionAnsweringPanel(Panel):
    """A question and a text in, the place that answers it out."""

    about = "Finds the place in a text that answers a question, or says that there is none."
    examples = (
        Example("How much is the bridge?", {"question": "How much will the repair cost?", "context": BRIDGE}),
        Example("Who understood the bees?", {"question": "Who worked out the dance of the bees?", "context": BEES}),
        Example("Not in the text", {"question": "Who built the bridge?", "context": BRIDGE}),
    )

    def row(self, key: str) -> dict[str, Any]:
        question = st.text_input(
            "Question", key=f"{key}-question", persist_state="session", placeholder="Who, what, when, where, how much?"
        )
        document_field(f"{key}-context")
        return {"question": question or "", "context": text_field("Context", f"{key}-context", height=200)}

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        answers = result["answers"]
        for place, one in enumerate(answers, 1):
            number = f"{place}\\. " if len(answers) > 1 else ""
            st.markdown(number + in_words(one))
        found = [one for one in answers if one["end"] > one["start"]]
        if not found:
            return
        context = row["context"]
        if len(context) <= LONG_CONTEXT:
            st.html(context_html(context, found))
            return
        first = max(0, found[0]["start"] - AROUND)
        last = found[0]["end"] + AROUND
        near = [moved(one, first) for one in found if first <= one["start"] and one["end"] <= last]
        st.html(context_html(context[first:last], near, first > 0, last < len(context)))
        with st.expander("The whole text"):
            st.html(context_html(context, found))


def in_words(answer: Mapping[str, Any]) -> str:
    """An answer with its probability, as Markdown."""
    if answer["end"] <= answer["start"]:
        return f"No answer in this text ({answer['score']:.1%})"
    return f"**{escaped(answer['answer'])}** ({answer['score']:.1%})"


def moved(answer: Mapping[str, Any], by: int) -> dict[str, Any]:
    """An answer whose places count from further on."""
    return {**answer, "start": answer["start"] - by, "end": answer["end"] - by}


def context_html(context: str, answers: Sequence[Mapping[str, Any]], before: bool = False, after: bool = False) -> str:
    """A text as HTML with its answers marked, the first of them strongest.

    Args: before, after: whether the text is cut there.
    """
    parts, end = ["… " if before else ""], 0
    for one in sorted(answers, key=lambda one: one["start"]):
        style = BEST if one is answers[0] else OTHER
        parts.append(escaped_html(context[end : one["start"]]))
        parts.append(f'<mark style="{style}">{escaped_html(context[one["start"] : one["end"]])}</mark>')
        end = one["end"]
    parts += [escaped_html(context[end:]), " …" if after else ""]
    return f'<p style="line-height:1.7;overflow-wrap:anywhere">{"".join(parts)}</p>'
