"""The parts of the compare page: what is compared, leaderboard, curves, bars, costs.

Charts with controls are fragments: a click there draws them anew, not the whole page.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from tasks.runs.trainings import FinishedTraining
from ui.plain import escaped, visible
from ui.results import charts
from ui.results.all_runs import open_link
from ui.results.leaderboard import (
    COSTS,
    FRACTIONS,
    TESTED,
    Curves,
    Line,
    best_of_each_model,
    curve_points,
    table,
    unlike,
    validation,
)
from ui.results.training_runs import histories, named_comparisons
from ui.services import mlflow_ui, run_link

COMMAND = "mlflow run . -e compare --env-manager local -P datasets=digits"
BEST, ALL = "Best run of each model", "All finished runs"
MOST_REPORTS = 3


def nothing_yet() -> None:
    """What to do where no training has finished."""
    st.write("No training of a CNN has finished yet. This trains six small ones on handwritten digits, in minutes:")
    st.code(COMMAND, language=None)
    st.page_link("views/runs.py", label="Start and watch a run here", icon=":material/play_circle:")


def choose(trainings: Sequence[FinishedTraining], names: Sequence[str]) -> list[FinishedTraining]:
    """Draw what chooses, and give the chosen trainings, newest first."""
    left, right = st.columns(2)
    with left:
        picked = st.pills(
            "Data sets", names, selection_mode="multi", default=names[:1], key="compare-datasets", format_func=escaped
        )
    here = [one for one in trainings if one.dataset in picked]
    parents = named_comparisons(tuple(sorted({one.parent_id for one in here if one.parent_id})))
    with right:
        start = st.selectbox(
            "Start from",
            [BEST, *parents, ALL],
            key="compare-start",
            format_func=lambda option: visible(parents.get(option) or str(option)),
            help="Best by accuracy on the validation images, or all runs of one comparison.",
        )
    curves = histories(tuple(sorted(one.run_id for one in here)), ("val_accuracy",))
    if start == BEST:
        default = best_of_each_model(here, curves)
    else:
        default = [one.run_id for one in here if start in (ALL, one.parent_id)]
    by_id = {one.run_id: one for one in here}
    chosen = st.multiselect(
        "Runs",
        list(by_id),
        default=default,
        key=f"compare-runs-{start}-{'-'.join(sorted(picked))}",
        format_func=lambda run_id: _described(by_id[run_id], validation(by_id[run_id], curves), len(picked) > 1),
    )
    return [by_id[run_id] for run_id in by_id if run_id in chosen]


def _described(training: FinishedTraining, reached: float, with_dataset: bool) -> str:
    """A run as the list of runs names it, with its accuracy on validation images."""
    what = f"{training.model} on {training.dataset}" if with_dataset else training.model
    return visible(f"{what}, seed {training.seed} · {reached:.1%} · {training.started:%d %b %H:%M}")


def each_run(chosen: Sequence[FinishedTraining]) -> bool:
    """Whether each run shall have its line; asked only where a model was trained more than once."""
    models = {(one.model, one.dataset) for one in chosen}
    if len(models) == len(chosen):
        return False
    return st.toggle(
        "One line for each run",
        key="compare-each",
        help="Otherwise runs that differ only in their seed share a line with their mean.",
    )


def draw_leaderboard(found: Sequence[Line], chosen: Sequence[FinishedTraining]) -> None:
    """The sortable table, what to know of it, and links to the reports of comparisons."""
    st.header("Leaderboard")
    for reason in unlike(chosen):
        st.warning(escaped(f"{reason} Their results cannot be compared fairly."), icon=":material/warning:")
    links = {one.run_id: run_link(one.run_id, one.experiment_id) for one in chosen}
    st.dataframe(
        table(found, links), column_config=_columns(), hide_index=True, width="stretch", key="compare-leaderboard"
    )
    st.caption(
        "Click a column header to sort. The epoch with the best validation accuracy is kept and tested once. "
        "Precision, recall and F1 are means over classes. Seconds count all epochs with their "
        "validation; they depend on the machine. The links lead to "
        f"[MLflow's own page]({mlflow_ui()}) of each best run, which `make mlflow-ui` serves."
    )
    _offer_reports(chosen)


def _columns() -> dict[str, Any]:
    number, share = st.column_config.NumberColumn, "%.2f %%"
    return {
        "Model": st.column_config.TextColumn(pinned=True),
        "Seeds": number(help="How many different seeds; the other columns are means over the runs"),
        "Validation": number(format=share, help="Accuracy of the best run on the validation images"),
        **{TESTED[name]: number(format=share, help=f"{TESTED[name]} on the test images") for name in FRACTIONS},
        "Lowest": number(format=share, help="Test accuracy of the worst run"),
        "Highest": number(format=share, help="Test accuracy of the best run"),
        TESTED["loss"]: number(format="%.4f", help="Cross entropy on the test images"),
        COSTS["parameters"]: number(format="localized"),
        COSTS["seconds"]: number(format="%.1f", help="Of training: all epochs with their validation"),
        COSTS["examples_per_second"]: number(format="%.0f", help="Median over epochs, training only"),
        "MLflow": st.column_config.LinkColumn(display_text="Open"),
    }


def _offer_reports(chosen: Sequence[FinishedTraining]) -> None:
    parents = named_comparisons(tuple(sorted({one.parent_id for one in chosen if one.parent_id})))
    for run_id, name in list(parents.items())[:MOST_REPORTS]:
        open_link(run_id, f"Report: {name}")


def shown(found: Sequence[Line]) -> list[Line]:
    """The lines that charts show: not more than can be told apart."""
    if len(found) > charts.MOST_LINES:
        st.caption(f"The charts show the first {charts.MOST_LINES} of {len(found)} lines; fewer runs show others.")
    return list(found[: charts.MOST_LINES])


@st.fragment
def draw_curves(found: Sequence[Line], curves: Curves) -> None:
    """Loss or accuracy against epochs or seconds, of training and validation images."""
    st.header("Curves")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.segmented_control(
            "Metric",
            ["loss", "accuracy"],
            default="loss",
            required=True,
            format_func=str.capitalize,
            key="compare-metric",
        )
        along = st.segmented_control(
            "Against",
            ["epoch", "seconds"],
            default="epoch",
            required=True,
            format_func={"epoch": "Epochs", "seconds": "Seconds"}.__getitem__,
            key="compare-along",
        )
        parts = st.pills(
            "Images",
            ["training", "validation"],
            selection_mode="multi",
            default=["training", "validation"],
            format_func=str.capitalize,
            key="compare-parts",
        )
        logarithmic = metric == "loss" and st.toggle("Logarithmic", key="compare-log")
    points = curve_points(found, curves, metric, parts)
    if logarithmic:
        points = [point for point in points if point["value"] > 0]
    if along == "seconds":
        points = [point for point in points if point["seconds"] is not None]
    if not points:
        st.caption("There is nothing to draw: no part is chosen, or these runs logged no curves.")
        return
    chart = charts.curves(points, metric, along, logarithmic=logarithmic)
    words = f"Curves of {metric} against {along} for {', '.join(line.label for line in found)}"
    st.altair_chart(chart, width="stretch", key="compare-curves", alt=words)
    st.caption(
        "The largest mark of a curve is the epoch that was kept. Training images may be shifted, flipped or have "
        "smoothed labels, validation images never: their curves need not agree. Each seed has its own curve."
    )


@st.fragment
def draw_bars(found: Sequence[Line]) -> None:
    """Test metrics as bars."""
    st.header("Test metrics")
    zoomed = st.toggle("Zoom in on the differences", key="compare-zoom")
    for row in (FRACTIONS[:2], FRACTIONS[2:]):
        for place, metric in zip(st.columns(2), row, strict=True):
            chart = charts.bars(found, metric, TESTED[metric], zoomed=zoomed)
            place.altair_chart(chart, width="stretch", key=f"compare-bars-{metric}", alt=_alt(found, metric))
    if any(len(line.runs) > 1 for line in found):
        st.caption("Means over the runs of a line; the thin line goes from the lowest to the highest of them.")


def _alt(found: Sequence[Line], metric: str) -> str:
    values = [f"{line.label} {line.values[metric].mean:.2%}" for line in found if metric in line.values]
    return f"{TESTED[metric]} on the test images: {', '.join(values)}"


@st.fragment
def draw_cost(found: Sequence[Line]) -> None:
    """Accuracy against what it costs."""
    st.header("Accuracy against cost")
    against = st.segmented_control(
        "Cost", list(COSTS)[:2], default="parameters", required=True, format_func=COSTS.__getitem__, key="compare-cost"
    )
    if not any("accuracy" in line.values and against in line.values for line in found):
        st.caption("These runs did not log it.")
        return
    st.altair_chart(
        charts.cost(found, against),
        width="stretch",
        key="compare-cost-chart",
        alt=f"Test accuracy against {COSTS[against].lower()}: {_alt(found, 'accuracy')}",
    )
    st.caption("Up and left is better: more accurate, and cheaper.")
