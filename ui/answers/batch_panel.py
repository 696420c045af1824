"""Batches on the page: upload a CSV, watch it being answered, take the results along."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from tasks import task_class
from tasks.csv_files import INDEX, Table, TableError
from tasks.registry import RegisteredVersion
from tasks.runs import log_evaluation
from ui.answers.batch import Batch, in_words
from ui.answers.batch_file import (
    MAX_MB,
    MAX_ROWS,
    SAMPLES,
    Line,
    columns_of,
    missing_columns,
    read_batch,
    read_lines,
    template,
)
from ui.answers.tables import cell
from ui.plain import escaped, visible
from ui.results.all_runs import open_link
from ui.session import errors_in_words, services

BATCH = "batch"  # one a visitor, whatever page they are on
READ = "batch-read"  # the rows of the file that was uploaded last
PREVIEW = 5
SHOWN = 100
ERRORS = 3
FILE, TYPED = "CSV file", "Typed here"
# A name for the results, the rows, and columns of the file that stand for those of the task.
Given = tuple[str, Table, dict[str, str]]
HINTS = {
    "chatbot": "Each row is a conversation of its own: `message`, and `system` if you like; or `messages` as JSON.",
    "sequence-reversal": "Write a sequence as numbers with blanks between them: `3 1 4`.",
    "image-classification": "Pictures are PNG or JPEG as base64 text.",
    "image-generation": "An `image` to start from is PNG or JPEG as base64 text, or empty.",
}


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
    with left:
        typed = (
            typed_columns(task)
            and st.segmented_control(
                "Rows", [FILE, TYPED], default=FILE, required=True, key=f"batch-rows-{task}", persist_state="session"
            )
            == TYPED
        )
    more = right.multiselect(
        "More models, each a column beside the others",
        list(others),
        format_func=lambda key: visible(f"{others[key]} ({key})"),
        key=f"batch-models-{task}",
        persist_state="session",
    )
    try:
        given = _draw_typed(task) if typed else _draw_upload(task)
        if given is None:
            return
        name, table, chosen = given
        lines = read_lines(table, task, task_class(task).inputs, chosen)
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


def typed_columns(task: str) -> list[str]:
    """The columns that can be typed; [] for tasks that need a picture."""
    columns = columns_of(task, task_class(task).inputs)
    return [] if columns.get("image") else [name for name in columns if name not in ("messages", "image")]


def _draw_typed(task: str) -> Given | None:
    """A table to type into; what was typed stays for the session. None while it is empty."""
    import pandas as pd

    key, kept, begun = (f"batch-{part}-{task}" for part in ("typed", "typed-kept", "typed-begun"))
    # What it begins with must not change while it is on the page.
    if not {key, begun} <= st.session_state.keys():
        empty = pd.DataFrame({name: [SAMPLES.get(name, "")] for name in typed_columns(task)})
        st.session_state[begun] = st.session_state.get(kept, empty)
    rows = st.data_editor(st.session_state[begun], num_rows="dynamic", hide_index=True, key=key)
    st.session_state[kept] = rows
    rows = rows.dropna(how="all")
    if rows.empty:
        return None
    return task, read_batch(rows.to_csv(index=False).encode(), task, task_class(task).inputs), {}


def _draw_upload(task: str) -> Given | None:
    """An upload, and the choice of columns of other names. None before there is a file. Raises TableError."""
    inputs = task_class(task).inputs
    required = [f"`{name}`" for name, needed in columns_of(task, inputs).items() if needed]
    st.write(
        f"Upload a CSV with the column{'s' if len(required) > 1 else ''} {', '.join(required)}: "
        f"up to {MAX_ROWS:,} rows and {MAX_MB} MB, UTF-8, with commas, semicolons or tabs. "
        f"Where a column has another name, you can choose it. Other columns come back with the results. "
        f"{HINTS.get(task, '')}"
    )
    uploaded = st.file_uploader(
        "CSV file", type=["csv", "tsv", "txt"], max_upload_size=MAX_MB, key=f"batch-file-{task}"
    )
    st.download_button(
        "Template",
        template(task, inputs),
        f"{task}-template.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
        help="A CSV with the right columns to fill in.",
    )
    if uploaded is None:
        return None
    try:
        table = _read(uploaded, task)
        return Path(uploaded.name).stem, table, _choose(table, task, uploaded.file_id)
    except TableError as error:
        raise TableError(f"{uploaded.name}: {error}") from error


def _read(uploaded: UploadedFile, task: str) -> Table:
    """The table in a file; read once, however often the page is drawn. Raises TableError."""
    seen = (uploaded.file_id, task)
    if st.session_state.get(READ, (None,))[0] != seen:
        st.session_state[READ] = (seen, read_batch(uploaded.getvalue(), task, task_class(task).inputs))
    return st.session_state[READ][1]


def _choose(table: Table, task: str, file_id: str) -> dict[str, str]:
    """Let the user choose a column of the file for each that is missing; offered first are those with most text."""
    missing = missing_columns(table, task, task_class(task).inputs)
    known = {name.casefold() for name in columns_of(task, task_class(task).inputs)}
    free = [name for name in table.header if name.casefold() not in known and name != INDEX]
    if len(free) < len(missing):
        return {}
    lengths = {name: sum(len(cells[table.header.index(name)]) for _, cells in table.rows) for name in free}
    longest = sorted(free, key=lengths.__getitem__, reverse=True)[: len(missing)]
    return {
        column: st.selectbox(
            escaped(f"Column for {column}"), free, free.index(offered), key=f"batch-column-{file_id}-{column}"
        )
        for column, offered in zip(missing, sorted(longest, key=free.index), strict=True)
    }


def _start(task: str, references: Sequence[str], lines: list[Line], parameters: dict[str, Any], name: str) -> None:
    st.session_state[BATCH] = Batch(services().submit, task, references, lines, parameters, name)
    st.session_state.pop(READ, None)


def _draw_preview(lines: list[Line], typed: bool) -> None:
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
    with st.container(horizontal=True):
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
        with errors_in_words("batch-log"):
            batch.run_id = log_evaluation(*batch.evaluation())
            st.rerun()


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
    """How far a batch is, in words."""
    parts = [f"{batch.done:,} of {batch.total:,} rows", f"{batch.failed:,} failed" if batch.failed else ""]
    left = batch.seconds_left()
    if batch.running:
        parts.append(f"about {in_words(left)} left" if left is not None else "waiting for the model")
    else:
        parts += [{"stopped": "stopped", "failed": "ended early"}.get(batch.state, "done"), in_words(batch.seconds())]
    return " · ".join(part for part in parts if part)
