"""Sentiment analysis on the page: a bar for each class, and the words that moved the score."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks.base import Row
from ui.panels.base import Example, Panel, text_field
from ui.plain import escaped, escaped_html, inert_cell

MOST_BARS = 6
STRONGEST = 0.45  # the opacity behind the word with the largest weight


class SentimentPanel(Panel):
    """Text in, classes out."""

    purpose = "Is a text positive or negative? With “Explain”, also which words decide it."
    about = "Classifies the sentiment of a text: every class that the model knows, with its probability."
    examples = (
        Example("A film to love", {"text": "A wonderful film: funny, warm, and over much too soon."}),
        Example("A long wait", {"text": "We waited two hours, and the food was cold. Never again."}),
        Example("Both at once", {"text": "The acting is brilliant, but the story is a terrible waste of time."}),
    )

    def row(self, key: str) -> dict[str, Any]:
        return {"text": text_field("Text", f"{key}-text", placeholder="A sentence, a review, a post")}

    def draw(self, row: Row, result: Row, key: str) -> None:  # noqa: ARG002
        st.markdown(f"**{escaped(result['label'])}** with a probability of {result['score']:.1%}")
        draw_bars(result["scores"])
        if result["windows"] > 1:
            st.caption(f"A long text, read in {result['windows']} parts; the bars are their average.")
        if "words" in result:
            draw_words(row["text"], result["words"], result["label"])


def draw_bars(scores: Mapping[str, float]) -> None:
    """A bar for each class, the most probable first; where there are many, the others are folded away."""
    bars = [(name, min(max(score, 0.0), 1.0)) for name, score in scores.items()]
    for name, score in bars[:MOST_BARS]:
        st.progress(score, f"{escaped(name)}: {score:.1%}")
    if bars[MOST_BARS:]:
        with st.expander(f"{len(bars) - MOST_BARS} more classes"):
            for name, score in bars[MOST_BARS:]:
                st.progress(score, f"{escaped(name)}: {score:.1%}")


def draw_words(text: str, words: Sequence[Mapping[str, Any]], label: str) -> None:
    """The text with its words tinted by how they moved the score, and the strongest ones as a table."""
    if not words:
        st.caption("A single word: nothing is left to compare it with.")
        return
    st.html(words_html(text, words))
    name = escaped(label)
    st.caption(f"Blue, solid line: evidence for {name}. Orange, dashed: against it. Stronger color = more weight.")
    with st.expander("Words by their weight"):
        strongest = sorted(words, key=lambda word: -abs(word["weight"]))
        st.dataframe(
            [{"word": inert_cell(word["word"]), "weight": word["weight"]} for word in strongest],
            column_config={
                "word": "Word",
                "weight": st.column_config.NumberColumn("Weight", format="%+.4f"),
            },
            hide_index=True,
        )
        st.caption(f"Weight: by how much the probability of {name} falls when the word is left out.")


def words_html(text: str, words: Sequence[Mapping[str, Any]]) -> str:
    """A text as HTML: for each word a tint by its weight, and the sign as a line below, solid or dashed."""
    largest = max((abs(word["weight"]) for word in words), default=0.0) or 1.0
    parts, end = [], 0
    for word in words:
        parts.append(escaped_html(text[end : word["start"]]))
        share = abs(word["weight"]) / largest
        # Of no good and no bad: what speaks for NEGATIVE is no green.
        color, line = ("47,127,224", "solid") if word["weight"] >= 0 else ("217,115,13", "dashed")
        style = f"background:rgba({color},{STRONGEST * share:.3f});border-bottom:2px {line} rgba({color},{share:.3f})"
        shown = escaped_html(text[word["start"] : word["end"]])
        parts.append(f'<span style="{style};border-radius:3px" title="{word["weight"]:+.4f}">{shown}</span>')
        end = word["end"]
    return f'<p style="line-height:2;overflow-wrap:anywhere">{"".join(parts)}{escaped_html(text[end:])}</p>'
