"""Where a sequence network looked while it reversed: its attention as a map beside the ideal anti-diagonal."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

SIDE, LARGEST_CELL, SMALLEST_CELL, CROWDED_CELL = 270, 32, 6, 11  # pixels; with axes it fits on a telephone
# A blue and an orange that show on a white and on a black page; less attention is more of the page behind it.
BLUE, ORANGE = "#2f7fe0", "#d9730d"


def draw_attention(attention: list[list[float]] | None, source: list[int], said: list[int], key: str) -> None:
    """Draw the map of an answer, the ideal one beside it, and say how near it is.

    Args:
        attention: a row a written number with the weight of attention on each number of the source; None for a network
            without attention.
        key: distinguishes the maps of one page.
    """
    if attention is None:
        st.caption("This network has no attention: it reverses from the encoder's last state alone.")
        return
    if not said:
        st.caption("The network wrote nothing, so there is no attention to show.")
        return
    right = source[::-1]
    drawn = (("Attention", attention, said), ("Ideal", ideal_attention(len(source)), right))
    for column, (title, shares, written) in zip(st.columns(2), drawn, strict=True):
        with column:
            cells, spec = attention_chart(shares, source, written, title)
            st.vega_lite_chart(cells, spec, width="content", key=f"{key}-{title}")
    st.caption(
        f"{share_on_anti_diagonal(attention, len(source)):.0%} of the attention lies on the anti-diagonal (outlined): "
        "to write the first number of the reverse, a network looks best at the last one of the source, and so on. "
        "One that looks elsewhere can still be right, because its states carry some of the sequence, too."
    )


def ideal_attention(length: int) -> list[list[float]]:
    """All attention of written number `i` on source number `length - 1 - i`."""
    return [[float(column == length - 1 - row) for column in range(length)] for row in range(length)]


def share_on_anti_diagonal(attention: Sequence[Sequence[float]], length: int) -> float:
    """Mean attention weight that written numbers give to the number that stands in their place in the reverse."""
    rows = attention[:length]  # what is written past the end of the reverse has no such number
    return sum(row[length - 1 - place] for place, row in enumerate(rows)) / max(1, len(rows))


def attention_chart(
    attention: Sequence[Sequence[float]], source: Sequence[int], written: Sequence[int], title: str
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """A heat map as a table of cells and a Vega-Lite specification: columns are the numbers of the source, rows the
    written ones from top to bottom."""
    places = [(row, column) for row in range(len(attention)) for column in range(len(source))]
    cells = {
        "row": [row for row, _ in places],
        "column": [column for _, column in places],
        "written": [written[row] for row, _ in places],
        "read": [source[column] for _, column in places],
        "share": [float(attention[row][column]) for row, column in places],
        "ideal": [column == len(source) - 1 - row for row, column in places],
    }
    cell = max(SMALLEST_CELL, min(LARGEST_CELL, SIDE // max(len(source), len(written), 1)))
    crowded = cell < CROWDED_CELL
    spec = {
        "title": {"text": title, "anchor": "start"},
        "width": {"step": cell},
        "height": {"step": cell},
        "encoding": {
            "x": {"field": "column", "type": "ordinal", "axis": _axis("read", source, "top", crowded)},
            "y": {"field": "row", "type": "ordinal", "axis": _axis("written", written, "left", crowded)},
            "tooltip": [
                {"field": "written", "title": "written"},
                {"field": "read", "title": "looked at"},
                {"field": "share", "title": "attention weight", "format": ".1%"},
            ],
        },
        "layer": [
            {
                "mark": {"type": "rect", "color": BLUE},
                "encoding": {
                    "opacity": {
                        "field": "share",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "range": [0.03, 1]},
                        "legend": None,
                    }
                },
            },
            {
                "transform": [{"filter": "datum.ideal"}],
                "mark": {"type": "rect", "fillOpacity": 0, "stroke": ORANGE, "strokeWidth": 1 if crowded else 2},
            },
        ],
    }
    return cells, spec


def _axis(title: str, numbers: Sequence[int], orient: str, crowded: bool) -> dict[str, Any]:
    """An axis that counts places, because a number may come twice; its labels are the numbers at those places."""
    return {
        "title": title,
        "orient": orient,
        "labelExpr": f"{[int(number) for number in numbers]}[datum.value]",
        "labelAngle": 0,
        "labelOverlap": crowded,  # where cells are smaller than a digit, labels that would touch are left out
        "ticks": False,
        "domain": False,
    }
