"""The parts of a run's page: what it is, its reports, curves, confusion matrix, runs below it, numbers and figures."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import streamlit as st

from tasks.runs.evaluations import TABLE
from tasks.texts import format_duration
from ui.labels import task_title
from ui.plain import escaped, inert_cell
from ui.results.all_runs import PARENT, draw_table, open_link
from ui.results.charts import by_epoch
from ui.results.mistakes import draw_mistakes
from ui.results.report_frame import draw_report
from ui.results.training_runs import all_runs, curves_of, file_of
from ui.services import run_link
from ui.session import versions

if TYPE_CHECKING:
    from mlflow.entities import Run

STATUS = {"FINISHED": "green", "FAILED": "red", "KILLED": "orange", "RUNNING": "blue"}
CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
NESTED = ("metrics.val_accuracy", "metrics.test_accuracy")


def draw_run(run: "Run", files: list[str]) -> None:
    """The whole page below its title."""
    _draw_facts(run)
    for path in files:
        if path.endswith(".html"):
            _draw_report(run.info.run_id, path)
    if TABLE in files:
        _draw_evaluation(run.info.run_id)
    _draw_curves(run)
    draw_mistakes(run.info.run_id, run.info.end_time)
    _draw_nested(run)
    _draw_numbers(run)
    _draw_figures(run.info.run_id, [path for path in files if path.endswith(".png")])


def name_of(run: "Run") -> str:
    """What a run is called."""
    return run.info.run_name or run.info.run_id


def _draw_facts(run: "Run") -> None:
    info, tags = run.info, run.data.tags
    begun = (info.start_time or 0) / 1000
    took = (info.end_time / 1000 if info.end_time else datetime.now(UTC).timestamp()) - begun
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(info.status.lower(), color=STATUS.get(info.status, "gray"))  # type: ignore[arg-type]
        facts = [tags.get("entry_point", ""), tags.get("model", ""), tags.get("dataset", ""), format_duration(took)]
        st.caption(escaped(" · ".join(part for part in facts if part)), width="content")
        st.link_button(
            "Open in MLflow",
            run_link(info.run_id, info.experiment_id),
            icon=":material/open_in_new:",
            type="tertiary",
            help="It is served by another command: make mlflow-ui",
        )
    if tags.get("error"):
        st.error(escaped(tags["error"]), icon=":material/error:")
    with st.container(horizontal=True):
        if parent := tags.get("mlflow.parentRunId"):
            open_link(parent, "Parent run")
        for one in versions():
            if one.run_id == info.run_id:
                st.page_link(
                    "views/tasks.py",
                    label=escaped(f"{task_title(one.task)} with {one.key}"),
                    icon=":material/bolt:",
                    query_params={"task": one.task, "model": one.key},
                )


def _draw_report(run_id: str, path: str) -> None:
    page = file_of(run_id, path)
    if page is not None:
        st.header("Report")
        draw_report(f"Report {path}", page, f"report-{path}")


def _draw_evaluation(run_id: str) -> None:
    """The table of a batch that was logged from the tool."""
    import pandas as pd

    st.header("Answers")
    try:
        content = BytesIO(file_of(run_id, TABLE) or b"")
        st.dataframe(pd.read_json(content, orient="split", dtype=object, convert_dates=False), hide_index=True)
    except ValueError:
        st.caption(f"The artifact {TABLE} cannot be read.")


def _draw_curves(run: "Run") -> None:
    found = curves_of(run.info.run_id, CURVES)
    kinds = [kind for kind in ("loss", "accuracy") if f"val_{kind}" in found]
    if not kinds:
        return
    st.header("Curves")
    for place, kind in zip(st.columns(2), kinds, strict=False):
        curves = {part: found[f"{part}_{kind}"] for part in ("train", "val") if f"{part}_{kind}" in found}
        last = ", ".join(f"{part} {values[max(values)]:.4f}" for part, values in curves.items())
        place.altair_chart(by_epoch(curves, kind), alt=f"{kind} by epoch, at the end {last}")


def _draw_nested(run: "Run") -> None:
    found = all_runs()
    below = found.loc[found[PARENT] == run.info.run_id] if PARENT in found else None
    if below is not None and not below.empty:
        st.header("Child runs")
        draw_table(below, [name for name in NESTED if name in below], f"nested-{run.info.run_id}")


def _draw_numbers(run: "Run") -> None:
    left, right = st.columns(2)
    with left:
        st.header("Metrics")
        _draw_table(
            "Metric", {name: value for name, value in run.data.metrics.items() if not name.startswith("system/")}
        )
    with right:
        st.header("Parameters")
        _draw_table("Parameter", run.data.params)


def _draw_table(head: str, values: dict[str, float] | dict[str, str]) -> None:
    if values:
        rows = [{head: inert_cell(name), "Value": inert_cell(value)} for name, value in sorted(values.items())]
        st.dataframe(rows, hide_index=True)
    else:
        st.caption("None were logged.")


def _draw_figures(run_id: str, paths: list[str]) -> None:
    if not paths:
        return
    folded = st.expander(f"Figures ({len(paths)})", icon=":material/image:", key="run-figures", on_change="rerun")
    if folded.open:
        with folded:
            for path in paths:
                picture = file_of(run_id, path)
                if picture is not None:
                    name = PurePosixPath(path).stem.replace("_", " ")
                    st.image(picture, caption=escaped(name.capitalize()), alt=name)
