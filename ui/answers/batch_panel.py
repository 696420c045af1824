"""Batches on the page: upload a CSV, watch it being answered, take the results along."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from tasks import task_class
from tasks.csv_files import TableError
from tasks.registry import RegisteredVersion
from tasks.runs.evaluations import log_evaluation
from tasks.texts import format_duration
from ui.answers.batch import TOGETHER, Batch
from ui.answers.batch_file import BatchLine, read_lines
from ui.answers.batch_rows import READ, draw_pictures, draw_typed, draw_upload, typed_columns
from ui.answers.tables import cell
from ui.plain import escaped, visible
from ui.results.all_runs import open_link
from ui.session import services, show_errors

BATCH = "batch"  # one a visitor, whatever page they are on
PREVIEW = 5
SHOWN = 100
ERRORS = 3
FILE, TYPED, PICTURES = "CSV file", "Typed here", "Pictures"
CLASSIFICATION = "image-classification"


def draw_batch(
    task: str, version: RegisteredVersion, models: Sequence[RegisteredVersion], parameters: dict[str, Any]
) -> None:
    """Many rows for registered versions: the visitor's batch, if there is one, else the form that starts it."""
    batch: Batch | None = st.session_state.get(BATCH)
    if batch is None or not (batch.running or batch.task == task):
        _draw_form(task, version, models, parameters)
    else:
        if batch.task != task:
            st.info(escaped(f"A batch for {batch.task} is being answered. One at a time; the next can start after it."))
        _draw_running(batch)


def _draw_form(
    task: str, version: RegisteredVersion, models: Sequence[RegisteredVersion], parameters: dict[str, Any]
) -> None:
    others = {one.key: one.model for one in models if one.key != version.key}
    left, right = st.columns(2)
    ways = [PICTURES, FILE] if task == CLASSIFICATION else [FILE, TYPED] if typed_columns(task) else [FILE]
    with left:
        way = st.segmented_control(
            "Rows",
            ways,
            default=ways[0],
            required=True,
            key=f"batch-rows-{task}",
            persist_state="session",
        )
    typed = way == TYPED
    more = right.multiselect(
        "More models, each a column beside the others",
        list(others),
        format_func=lambda key: visible(f"{others[key]} ({key})"),
        key=f"batch-models-{task}",
        persist_state="session",
    )
    try:
        given = _read(task, way)
        if given is None:
            return
        name, lines = given
    except TableError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    _draw_preview(lines, typed)
    references = (version.key, *more)
    with_models = f" with {len(references)} models" if more else ""
    st.button(
        f"Answer {len(lines):,} {'row' if len(lines) == 1 else 'rows'}{with_models}",
        type="primary",
        icon=":material/play_arrow:",
        key=f"batch-start-{task}",
        help=escaped(f"by {', '.join(references)}, with the settings of the form"),
        on_click=_start,
        args=(task, references, lines, parameters, name),
    )


def _read(task: str, way: str | None) -> tuple[str, list[BatchLine]] | None:
    """A name for the results and the rows that were given in a way; None before there are some. Raises TableError."""
    if way == PICTURES:
        return draw_pictures(task)
    given = draw_typed(task) if way == TYPED else draw_upload(task)
    if given is None:
        return None
    name, table, chosen = given
    return name, read_lines(table, task, task_class(task).inputs, chosen)


def _start(task: str, references: Sequence[str], lines: list[BatchLine], parameters: dict[str, Any], name: str) -> None:
    # What comes in pieces gains nothing in company, and takes long.
    together = 1 if task_class(task)(Path(), "").in_pieces(parameters) else TOGETHER
    batch = Batch(services().submit, task, references, lines, parameters, name, together)
    st.session_state[BATCH] = batch
    _started()[:] = [batch]
    st.session_state.pop(READ, None)


def _stop(batches: list[Batch]) -> None:
    for one in batches:
        one.stop()


@st.cache_resource(scope="session", show_spinner=False, on_release=_stop)
def _started() -> list[Batch]:
    """This visitor's batch, which is of no use once they have left."""
    return []


def _draw_preview(lines: list[BatchLine], typed: bool) -> None:
    if not typed:
        st.caption(f"{len(lines):,} rows; the first {min(PREVIEW, len(lines))}:")
        _draw_table([dict(line.given) for line in lines[:PREVIEW]])
    faults = [(number, line.fault) for number, line in enumerate(lines, 1) if line.fault]
    if faults:
        st.warning(escaped(f"{len(faults)} rows cannot be used and get an error; row {faults[0][0]}: {faults[0][1]}"))


def _draw_running(batch: Batch) -> None:
    was_running = batch.running

    def draw() -> None:
        if was_running and not batch.running:
            st.rerun()
        share = batch.done / batch.total
        st.progress(share, escaped(progress(batch)))

    st.fragment(draw, run_every="1s" if was_running else None)()
    with st.container(horizontal=True, vertical_alignment="center"):
        if was_running:
            st.button(
                "Stop", key="batch-stop", icon=":material/stop:", on_click=batch.stop, help="What is done is kept."
            )
        else:
            st.button("New batch", key="batch-new", icon=":material/add:", on_click=_forget)
            if batch.done:
                _draw_downloads(batch)
                _draw_log(batch)
    if was_running:
        return
    if batch.reason:
        st.error(escaped(f"It ended after {batch.done} of {batch.total} rows: {batch.reason}"))
    errors = [f"row {number}: {why}" for number, why in batch.errors()[:ERRORS]]
    if errors:
        if batch.failed > len(errors):
            errors.append(f"and {batch.failed - len(errors):,} more: see the column error")
        st.warning(escaped("\n".join(errors)))
    if batch.done:
        if batch.done > SHOWN:
            st.caption(f"The first {SHOWN} rows; the files have all.")
        _draw_table(batch.table()[:SHOWN])


def _draw_downloads(batch: Batch) -> None:
    for label, make, mime in (("CSV", batch.csv, "text/csv"), ("JSON", batch.json, "application/json")):
        st.download_button(
            f"Download {label}",
            make,
            f"{batch.name}-results.{label.lower()}",
            mime,
            key=f"batch-{label}",
            icon=":material/download:",
            on_click="ignore",
        )


def _draw_log(batch: Batch) -> None:
    """The button that logs the results to MLflow as an evaluation; then the link to its run."""
    if batch.run_id:
        open_link(batch.run_id, "Open the evaluation")
        return
    shared = "Everyone who uses this MLflow can then read it."
    if st.button("Log to MLflow", key="batch-log", icon=":material/upload:", help=shared):
        with show_errors("batch-log"):
            batch.run_id = log(batch)
            st.rerun()


def log(batch: Batch) -> str:
    """Log a batch's rows as in the CSV, and how long each model took for one; gives the run's id.

    Raises StoreUnreachableError.
    """
    rows = [{name: cell(value) for name, value in row.items()} for row in batch.table()]
    metrics = {"rows": float(len(rows)), "failed": float(batch.failed)}
    for reference, results in batch.by_model().items():
        took = [float(one["seconds"]) for one in results if "seconds" in one]
        metrics |= {f"seconds/{reference}": sum(took) / len(took)} if took else {}
    models = ", ".join(batch.references)
    settings = {"models": models, **batch.parameters}
    return log_evaluation(f"{batch.name} by {models}", batch.task, rows, settings, metrics)


def _draw_table(rows: list[dict[str, Any]]) -> None:
    """Rows as they would be in the CSV; nothing in them is read as more than text."""
    st.dataframe([{str(cell(name)): _shown(value) for name, value in row.items()} for row in rows], hide_index=True)


def _shown(value: Any) -> float | str | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return str(cell(value))[:500]


def _forget() -> None:
    st.session_state.pop(BATCH, None)


def progress(batch: Batch) -> str:
    """How far a batch is."""
    parts = [f"{batch.done:,} of {batch.total:,} rows", f"{batch.failed:,} failed" if batch.failed else ""]
    left = batch.seconds_left()
    if batch.running:
        parts.append(f"about {format_duration(left)} left" if left is not None else "waiting for the model")
    else:
        parts += [
            {"stopped": "stopped", "failed": "ended early"}.get(batch.state, "done"),
            format_duration(batch.seconds()),
        ]
    return " · ".join(part for part in parts if part)
