"""The confusion matrix of a run, as a table whose cells open the pictures or texts that were misclassified."""

from io import BytesIO
from typing import TYPE_CHECKING

import streamlit as st

from tasks.texts import inert
from ui.pictures.heatmaps import enlarged
from ui.plain import escaped, visible
from ui.results.confusions import shading
from ui.results.training_runs import file_of, mistakes

if TYPE_CHECKING:
    import pandas as pd

    from tasks.runs.listing import Mistakes
    from tasks.runs.trainings import LoggedPredictions

MOST_ROWS = 20  # that are shown without scrolling
# Over a white and over a dark page the text of a cell keeps its contrast up to this much of a color.
RIGHT, WRONG, STRONGEST = (47, 127, 224), (217, 115, 13), 0.4
PICTURES = "run-mistakes"
TEXTS = "reports/test_mistakes.csv"  # of text classifiers
# They may be below the fold, and grow while they are loaded.
SHOW = f"""{{
  const pictures = document.querySelector(".st-key-{PICTURES}")
  const grown = new ResizeObserver(() => pictures.scrollIntoView({{block: "nearest"}}))
  grown.observe(pictures)
  setTimeout(() => grown.disconnect(), 2000)
}}"""
TRUE = "true ↓  predicted →"


def draw_mistakes(run_id: str, ended: int | None) -> None:
    """The matrix and, below it, the mistakes of the cell that was clicked; nothing for runs without predictions.

    Args: ended: when the run ended, in milliseconds.
    """
    found = mistakes(run_id, ended)
    if found is None:
        return
    predictions, classes, kept = found
    st.header("Confusion matrix")
    counts = matrix(predictions, classes)
    right = int(sum(counts.iloc[place, place] for place in range(len(classes))))
    st.caption(
        f"{right:,} of {len(predictions.labels):,} test examples are right (blue). "
        "Click a count beside the diagonal to see the mistakes."
    )
    chosen = st.dataframe(
        counts.style.apply(_colors, axis=None),
        key=f"confusion-{run_id}",
        on_select="rerun",
        selection_mode="single-cell",
        width="content",
        height="content" if len(classes) <= MOST_ROWS else "auto",
        column_config={TRUE: st.column_config.Column(pinned=True)},
    )
    cells = chosen.selection.cells
    if cells:
        row, name = cells[0]
        if name in counts.columns:
            with st.container(key=PICTURES):
                _draw_cell(run_id, predictions, classes, kept, row, list(counts.columns).index(name))
            st.html(f"<script>/* {row} {counts.columns.get_loc(name)} */{SHOW}</script>", unsafe_allow_javascript=True)


def matrix(predictions: "LoggedPredictions", classes: list[str]) -> "pd.DataFrame":
    """Counts: rows are the true classes, columns the predicted ones."""
    import pandas as pd

    names = pd.Index([visible(name) for name in classes])
    counts = pd.DataFrame(predictions.confusion(), index=names, columns=names)
    return counts.rename_axis(TRUE)


def _colors(counts: "pd.DataFrame") -> "pd.DataFrame":
    """CSS: right answers by their fraction of the row, mistakes by their fraction of the most frequent one."""
    import pandas as pd

    share = shading(counts.to_numpy())
    css = [
        [
            f"background-color: rgba{(*(RIGHT if row == column else WRONG), round(0.1 + (STRONGEST - 0.1) * one, 3))}"
            if one
            else ""
            for column, one in enumerate(line)
        ]
        for row, line in enumerate(share.tolist())
    ]
    return pd.DataFrame(css, counts.index, counts.columns)


def places_of(predictions: "LoggedPredictions", kept: "Mistakes", true: int, predicted: int) -> list[int]:
    """Which of the kept pictures belong to a cell, by their place among them; the surest first."""
    same = (predictions.labels[kept.index] == true) & (predictions.probabilities[kept.index].argmax(1) == predicted)
    return same.nonzero()[0].tolist()


def _draw_cell(
    run_id: str,
    predictions: "LoggedPredictions",
    classes: list[str],
    kept: "Mistakes | None",
    true: int,
    predicted: int,
) -> None:
    count = int(predictions.confusion()[true, predicted])
    st.subheader(escaped(f"{classes[true]} taken for {classes[predicted]}: {count:,}"))
    if true == predicted or not count:
        st.caption("These are right answers; only mistakes are kept." if count else "There are none.")
        return
    if kept is None:
        _draw_texts(run_id, classes[true], classes[predicted])
        return
    places = places_of(predictions, kept, true, predicted)
    if len(places) < count:
        st.caption(f"The {len(places)} of which the network was surest.")
    with st.container(horizontal=True):
        for place in places:
            index = int(kept.index[place])
            name = visible(kept.files[place]) if kept.files else f"test image {index}"
            with st.container(width=112, gap="xsmall"):
                pixels = kept.pixels[place]
                st.image(
                    enlarged(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, scale=4),
                    width=112,
                    alt=f"{name}: {visible(classes[true])} taken for {visible(classes[predicted])}",
                )
                st.caption(escaped(f"{predictions.probabilities[index].max():.0%} · {name}"))


def _draw_texts(run_id: str, true: str, predicted: str) -> None:
    """The texts of a class that were taken for another, the most confident mistakes first."""
    content = file_of(run_id, TEXTS)
    if content is None:
        st.caption("This run was logged without its pictures; a new training logs them.")
        return
    import pandas as pd

    found: pd.DataFrame = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
    shown = found[(found["label"] == inert(true)) & (found["predicted"] == inert(predicted))]
    st.dataframe(shown[["text", "probability"]], hide_index=True)
