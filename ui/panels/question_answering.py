"""Question answering on the page: the best answers, each where it stands in its passage."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.documents.field import Passage, document_field, passages
from ui.panels.base import Example, Panel, text_field
from ui.panels.summarization import BEES, BRIDGE
from ui.plain import escaped, escaped_html

LONG_PASSAGE = 1500  # characters: of a longer one, what is around the answer is shown first
AROUND = 300
ANSWERS = 3  # at first
BEST = "background:rgba(245,180,0,0.38);color:inherit;border-bottom:2px solid rgba(200,140,0,0.9)"
OTHER = "background:rgba(128,128,128,0.22);color:inherit;border-bottom:2px dotted currentColor"


class QuestionAnsweringPanel(Panel):
    """A question and a text in, the place that answers it out."""

    purpose = "The place in a text that answers a question."
    about = (
        "Finds the places in a text that answer a question, the most probable first, or says that there is none. "
        "Read several documents to search all of them at once."
    )
    examples = (
        Example("How much is the bridge?", {"question": "How much will the repair cost?", "context": BRIDGE}),
        Example("Who understood the bees?", {"question": "Who worked out the dance of the bees?", "context": BEES}),
        Example("Not in the text", {"question": "Who built the bridge?", "context": BRIDGE}),
    )

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.specs = {**self.specs, "top_k": {**self.specs["top_k"], "default": ANSWERS}}

    def row(self, key: str) -> dict[str, Any]:
        question = st.text_input(
            "Question", key=f"{key}-question", persist_state="session", placeholder="Who, what, when, where, how much?"
        )
        document_field(f"{key}-context", headed=True)
        return {"question": question or "", "context": text_field("Context", f"{key}-context", height=200)}

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        answers, context = result["answers"], row["context"]
        found = [one for one in answers if one["end"] > one["start"]]
        parts = passages(context)
        whole = not parts or (len(parts) == 1 and len(context) <= LONG_PASSAGE)
        shown: set[Passage] = set()
        for place, one in enumerate(answers, 1):
            number = f"{place}\\. " if len(answers) > 1 else ""
            st.markdown(number + describe_answer(one))
            if one in found and not whole:
                draw_place(context, one, found, parts, shown)
        if not found:
            return
        if whole:
            st.html(context_html(context, found))
        else:
            with st.expander("The whole text"):
                st.html(context_html(context, found))


def draw_place(
    context: str,
    answer: Mapping[str, Any],
    others: Sequence[Mapping[str, Any]],
    parts: Sequence[Passage],
    shown: set[Passage],
) -> None:
    """Where the passage of an answer stands, and the passage, in which the answer is marked most.

    Args: shown: the passages that stand on the page as a whole; this one joins them.
    """
    part = next((one for one in parts if answer["start"] < one.end), parts[-1])
    if len(parts) > 1:
        last_number = max(one.number for one in parts if one.document == part.document)
        name = f"{part.document}, passage" if part.document else "Passage"
        above = ", above" if part in shown else ""
        st.caption(escaped(f"{name} {part.number} of {last_number}{above}"))
    if part in shown:
        return
    # An answer may begin in the line that names the document, or end in the next paragraph.
    first, last = min(part.start, answer["start"]), max(part.end, answer["end"])
    if last - first > LONG_PASSAGE:
        first, last = max(first, answer["start"] - AROUND), min(last, answer["end"] + AROUND)
    else:
        shown.add(part)
    near = [answer, *(one for one in others if one is not answer)]
    near = [moved(one, first) for one in near if first <= one["start"] and one["end"] <= last]
    st.html(context_html(context[first:last].rstrip("\n"), near, first > part.start, last < part.end))


def describe_answer(answer: Mapping[str, Any]) -> str:
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
