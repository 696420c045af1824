"""Confusion matrices and F1 by class on the compare page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui.plain import escaped, inert_cell, visible
from ui.results.all_runs import open_link
from ui.results.charts import GRAY
from ui.results.leaderboard import Line
from ui.results.training_runs import tested
from ui.session import show_errors

if TYPE_CHECKING:
    import altair as alt
    import numpy as np

AT_FIRST, COLUMNS = 2, 2
CELL, LARGE = 25, 12  # pixels; classes for which a cell has as many
WITH_NUMBER = 20  # pixels, at least
LIGHT_BLUE, DARK_BLUE = "#d6e6fb", "#15509e"
LIGHT_ORANGE, DARK_ORANGE = "#fbe0c8", "#a34f00"
DARK_TEXT, LIGHT_TEXT = "#10151d", "#ffffff"


@st.fragment
def draw_confusions(found: Sequence[Line]) -> None:
    """Confusion matrices side by side, added up over the runs of a line."""
    st.header("Confusion matrices")
    labels = {line.label: line for line in found}
    picked = st.multiselect(
        "Models",
        list(labels),
        default=list(labels)[:AT_FIRST],
        key=f"compare-confusions-{hash(tuple(labels))}",
        format_func=visible,
    )
    lines = [labels[label] for label in picked]
    for start in range(0, len(lines), COLUMNS):
        for place, line in zip(st.columns(COLUMNS), lines[start : start + COLUMNS], strict=False):
            with place, show_errors(f"confusion-{line.label}"):
                _draw_confusion(line)
    st.caption(
        "Rows are the true classes, columns what the network said. Blue is right, framed orange is wrong; "
        "darker is more. The test images of all runs of a line are counted together."
    )


def _draw_confusion(line: Line) -> None:
    import numpy as np

    st.markdown(f"**{escaped(line.label)}**")
    there = [found for run in line.runs if (found := tested(run.run_id)) is not None]
    if not there:
        st.caption("The predictions of this run are not among its artifacts any more.")
        return
    classes = list(there[0][1])
    counts = np.sum([matrix for matrix, report in there if list(report) == classes], axis=0)
    st.altair_chart(
        confusion(counts, classes),
        width="content",
        key=f"compare-confusion-{line.runs[0].run_id}",
        alt=f"Confusion matrix of {line.label}: {counts.trace()} of {counts.sum()} test images right",
    )
    open_link(line.runs[0].run_id, "Misclassified images")


def shading(counts: "np.ndarray") -> "np.ndarray":
    """How strong the color of each cell is, 0 to 1.

    Right answers by their fraction of the row, mistakes by that of the most frequent one.
    """
    import numpy as np

    right = np.eye(len(counts), dtype=bool)
    worst = max(1, np.where(right, 0, counts).max())
    return np.where(right, counts / np.maximum(1, counts.sum(axis=1, keepdims=True)), counts / worst)


def confusion(counts: "np.ndarray", classes: Sequence[str]) -> "alt.LayerChart | alt.FacetChart":
    """Rows are the true classes, columns the predicted ones. Right answers blue, mistakes orange and framed."""
    import altair as alt
    import numpy as np

    names = [str(name) for name in classes]
    totals, depth = counts.sum(axis=1), shading(counts)
    cells = [
        {
            "true": names[row],
            "predicted": names[column],
            "count": int(count),
            "share": float(count / max(1, totals[row])),
            "right": row == column,
            "depth": float(depth[row, column]),
        }
        for (row, column), count in np.ndenumerate(counts)
    ]
    step = CELL if len(names) <= LARGE else max(6, CELL * LARGE // len(names))
    close: dict[str, Any] = {
        "labelLimit": 80,
        "labelOverlap": False,
        "labelFlush": False,
        "labelPadding": 4,
        "titlePadding": 6,
    }
    angle = 0 if all(len(name) <= 2 for name in names) else -60
    top = alt.Axis(orient="top", labelAngle=angle, **close)
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted", axis=top),
        y=alt.Y("true:N", sort=names, title="true", axis=alt.Axis(**close)),
        tooltip=[
            alt.Tooltip("true:N"),
            alt.Tooltip("predicted:N"),
            alt.Tooltip("count:Q", title="images"),
            alt.Tooltip("share:Q", title="of this true class", format=".1%"),
        ],
    )
    layers = [base.mark_rect(color=GRAY, opacity=0.1)]
    for right, ramp in ((True, [LIGHT_BLUE, DARK_BLUE]), (False, [LIGHT_ORANGE, DARK_ORANGE])):
        kind = base.transform_filter(f"datum.count > 0 && datum.right == {str(right).lower()}")
        color = alt.Color("depth:Q", scale=alt.Scale(domain=[0, 1], range=ramp), legend=None)
        layers.append(kind.mark_rect(stroke=None if right else DARK_ORANGE).encode(color=color))
    if step >= WITH_NUMBER:
        ink = alt.condition("datum.depth > 0.5", alt.value(LIGHT_TEXT), alt.value(DARK_TEXT))
        layers.append(base.transform_filter("datum.count > 0").mark_text(fontSize=10).encode(text="count:Q", color=ink))
    size = {"width": alt.Step(step), "height": alt.Step(step)}
    return alt.layer(*layers).resolve_scale(color="independent").properties(**size)


def draw_classes(found: Sequence[Line]) -> None:
    """F1 of every class and line, as a table: where the models differ."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for line in found:
        report = tested(line.runs[0].run_id)
        for name, scores in (report[1] if report else {}).items():
            facts = {
                "Class": inert_cell(name),
                "Data set": inert_cell(line.dataset),
                "Images": int(scores.get("support", 0)),
            }
            row = rows.setdefault((line.dataset, name), facts)
            row[str(inert_cell(line.label))] = 100 * scores.get("f1-score", 0.0)
    if not rows:
        return
    with st.expander("F1 by class"):
        shares = {str(inert_cell(line.label)): st.column_config.NumberColumn(format="%.2f %%") for line in found}
        st.dataframe(
            list(rows.values()),
            hide_index=True,
            width="stretch",
            key="compare-classes",
            column_config={"Class": st.column_config.TextColumn(pinned=True), **shares},
        )
        st.caption("On the test images, of the best run of each line.")
