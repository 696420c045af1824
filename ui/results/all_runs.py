"""The table of all runs: what the columns are, filters above it, and a click that opens a run."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import streamlit as st

from tasks.runs.listing import MOST_RUNS
from ui.plain import escaped, inert_cell, visible
from ui.results.training_runs import all_runs
from ui.services import known_mlflow_ui, run_link

if TYPE_CHECKING:
    import pandas as pd

PAGE = "views/run.py"
NAME, PARENT = "tags.mlflow.runName", "tags.mlflow.parentRunId"
# Columns that every run has, and where MLflow has what stands in them; of several, the first that a run has.
COLUMNS = {
    "Run": (NAME, "run_id"),
    "Program": ("tags.entry_point", "tags.mlflow.project.entryPoint", "experiment"),
    "Status": ("status",),
    "Model": ("tags.model", "params.model", "params.models"),
    "Data set": ("tags.dataset", "params.dataset", "params.datasets"),
    "Started": ("start_time",),
}
FILTERS = ("Program", "Status", "Model", "Data set")
FIELD = 168  # pixels
FIRST_METRICS = ("metrics.val_accuracy", "metrics.test_accuracy", "metrics.test_f1")


def draw_all_runs() -> None:
    """The filters and the table."""
    found = all_runs()
    if found.empty:
        st.info("There are no runs yet.", icon=":material/info:")
        st.page_link("views/runs.py", label="Start one", icon=":material/play_circle:")
        return
    everything = listed(found)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    search = row.text_input(
        "Search", key="all-search", placeholder="Name, id or parameter", persist_state="session", width=FIELD
    )
    active = sum(bool(st.session_state.get(f"all-{name}")) for name in FILTERS)
    # Five fields would push the table off a telephone.
    filters = row.popover(f"Filters ({active})" if active else "Filters", icon=":material/filter_list:")
    for name in FILTERS:
        options = sorted(everything[name].dropna().unique())
        chosen = filters.multiselect(
            name,
            options,
            key=f"all-{name}",
            format_func=visible,
            persist_state="session",
            placeholder="All",
        )
        if chosen:
            everything = everything.loc[everything[name].isin(chosen)]
    shown = matching(found.loc[everything.index], search.strip())
    more = _choose_columns(found)
    st.caption(f"{len(shown):,} of {len(found):,} runs{_bounded(len(found))}. Tick a run to open it.")
    draw_table(shown, more, "all-runs")


def _bounded(count: int) -> str:
    return f", the newest {MOST_RUNS:,}" if count == MOST_RUNS else ""


def _choose_columns(found: "pd.DataFrame") -> list[str]:
    options = [name for name in sorted(found) if name.startswith(("metrics.", "params.")) and "system/" not in name]
    first = [name for name in FIRST_METRICS if name in options]
    return st.multiselect(
        "Metrics and parameters",
        options,
        default=first,
        key="all-columns",
        format_func=lambda name: visible(
            name.partition(".")[2] + (", parameter" if name.startswith("params.") else "")
        ),
        persist_state="session",
    )


def matching(found: "pd.DataFrame", text: str) -> "pd.DataFrame":
    """The runs that have a text in their name, id, experiment or a parameter, ignoring case."""
    if not text:
        return found
    columns = [name for name in found if name in ("run_id", "experiment", NAME) or str(name).startswith("params.")]
    texts = found[columns].fillna("").astype(str).agg("\n".join, axis=1)
    return found.loc[texts.str.contains(text, case=False, regex=False)]


def listed(found: "pd.DataFrame") -> "pd.DataFrame":
    """The columns that every run has, with texts that no spreadsheet takes for a formula."""
    import pandas as pd

    table: dict[str, Any] = {}
    for name, sources in COLUMNS.items():
        there = [found[one] for one in sources if one in found] or [pd.Series(None, found.index, dtype=object)]
        table[name] = reduce(lambda some, other: some.combine_first(other), there).map(inert_cell)
    table["Seconds"] = (found["end_time"] - found["start_time"]).dt.total_seconds()
    return pd.DataFrame(table)


def draw_table(found: "pd.DataFrame", more: Sequence[str], key: str) -> None:
    """Runs as a table that sorts and searches, hides columns and downloads itself; ticking a row opens its run.

    Args: more: MLflow's names of further columns.
    """
    common = listed(found)
    table = common[["Run", "Status"]].copy()
    for name in more:
        if found[name].count() == 0:  # of registrations, the accuracy of a training
            continue
        title = name.partition(".")[2]
        table[title if title not in common and title not in table else name] = found[name].map(inert_cell)
    # What a run's name says anyway comes after its results, which are to be seen without scrolling.
    table = table.join(common.drop(columns=["Run", "Status"]))
    if known_mlflow_ui():
        table["MLflow"] = [run_link(*ids) for ids in zip(found["run_id"], found["experiment_id"], strict=True)]
    ids = list(found["run_id"])
    # A tick counts the rows that the browser shows: those of the last drawing, however many runs have begun since.
    shown = st.session_state.get(f"{key}-shown", ids)
    st.session_state[f"{key}-shown"] = ids
    chosen = st.dataframe(
        table,
        hide_index=True,
        placeholder="",
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Run": st.column_config.Column(pinned=True),
            "Started": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm", timezone=st.context.timezone),
            "Seconds": st.column_config.NumberColumn(format="%.1f"),
            "MLflow": st.column_config.LinkColumn(display_text="Open"),
        },
    )
    if chosen.selection.rows:
        st.switch_page(PAGE, query_params={"run": shown[chosen.selection.rows[0]]})


def open_link(run_id: str, label: str = "Open the run") -> None:
    """A link to the page of a run."""
    st.page_link(PAGE, label=escaped(label), icon=":material/query_stats:", query_params={"run": run_id})
