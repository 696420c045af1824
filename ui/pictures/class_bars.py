"""Probabilities of many classes in little room: a line each with name, bar and number."""

from collections.abc import Mapping

import streamlit as st

from ui.plain import escaped_html

MOST = 5
BLUE = "#2f7fe0"  # shows on a white and on a black page


def draw_class_bars(scores: Mapping[str, float]) -> None:
    """The most probable classes, and on demand the others."""
    ordered = sorted(scores.items(), key=lambda one: -one[1])
    st.html(bars_html(dict(ordered[:MOST])))
    if ordered[MOST:]:
        with st.expander(f"All {len(ordered)} classes"):
            st.html(bars_html(dict(ordered)))


def bars_html(scores: Mapping[str, float]) -> str:
    """A grid of three columns; the names are inert."""
    cells = []
    for name, score in scores.items():
        width = min(max(score, 0.0), 1.0)
        cells.append(
            f'<span style="overflow-wrap:anywhere">{escaped_html(name)}</span>'
            '<span style="height:.6rem;border-radius:.3rem;background:rgba(128,128,128,.22);overflow:hidden">'
            f'<span style="display:block;height:100%;width:{width:.1%};background:{BLUE}"></span></span>'
            f'<span style="text-align:right;font-variant-numeric:tabular-nums">{score:.1%}</span>'
        )
    style = (
        "display:grid;grid-template-columns:fit-content(45%) minmax(3rem,1fr) max-content;gap:.3rem .6rem;"
        "align-items:center;font-size:.875rem"
    )
    return f'<div style="{style}">{"".join(cells)}</div>'
