"""Batches on the page: upload a CSV, watch it being answered, take the results along."""

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from tasks import task_class
from tasks.csv_files import INDEX, Table, TableError
from ui.answers.batch import TOGETHER, Batch, in_words
from ui.answers.batch_file import (
    MAX_MB,
    MAX_ROWS,
    Line,
    columns_of,
    missing_columns,
    read_batch,
    read_lines,
    template,
)
from ui.answers.tables import cell
from ui.plain import escaped
from ui.session import services

BATCH = "batch"  # one a visitor, whatever page they are on
READ = "batch-read"  # the rows of the file that was uploaded last
PREVIEW = 5
SHOWN = 100
ERRORS = 3
HINTS = {
    "chatbot": "Each row is a conversation of its own: `message`, and `system` if you like; or `messages` as JSON.",
    "sequence-reversal": "Write a sequence as numbers with blanks between them: `3 1 4`.",
    "image-classification": "Pictures are PNG or JPEG as base64 text.",
    "image-generation": "An `image` to start from is PNG or JPEG as base64 text, or empty.",
}


def draw_batch(task: str, reference: str, parameters: dict[str, Any]) -> None:
    """Many rows for a registered version: the visitor's batch, if there is one, else the form that starts it."""
    batch: Batch | None = st.session_state.get(BATCH)
    if batch is None or not (batch.running or batch.task == task):
        _draw_form(task, reference, parameters)
    else:
        if batch.task != task:
            st.info(escaped(f"A batch for {batch.task} is being answered. One at a time; the next can start after it."))
        _draw_running(batch)


def _draw_form(task: str, reference: str, parameters: dict[str, Any]) -> None:
    inputs = task_class(task).inputs
    columns = columns_of(task, inputs)
    required = [f"`{name}`" for name, needed in columns.items() if needed]
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
        return
    try:
        table = _read(uploaded, task)
        chosen = _choose(table, task, uploaded.file_id)
        lines = read_lines(table, task, inputs, chosen)
    except TableError as error:
        st.error(escaped(f"{uploaded.name}: {error}"), icon=":material/error:")
        return
    _draw_preview(lines)
    st.button(
        f"Answer {len(lines):,} {'row' if len(lines) == 1 else 'rows'}",
        type="primary",
        icon=":material/play_arrow:",
        key=f"batch-start-{task}",
        help=escaped(f"by {reference}, with the settings of the form"),
        on_click=_start,
        args=(task, reference, lines, parameters, Path(uploaded.name).stem),
    )


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


def _start(task: str, reference: str, lines: list[Line], parameters: dict[str, Any], name: str) -> None:
    # What comes in pieces gains nothing in company, and takes long.
    together = 1 if task_class(task)(Path(), "").in_pieces(parameters) else TOGETHER
    st.session_state[BATCH] = Batch(services().submit, task, reference, lines, parameters, name, together)
    st.session_state.pop(READ, None)


def _draw_preview(lines: list[Line]) -> None:
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
        share = batch.done / len(batch.lines)
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
    if was_running:
        return
    if batch.reason:
        st.error(escaped(f"It ended after {batch.done} of {len(batch.lines)} rows: {batch.reason}"))
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
    parts = [f"{batch.done:,} of {len(batch.lines):,} rows", f"{batch.failed:,} failed" if batch.failed else ""]
    left = batch.seconds_left()
    if batch.running:
        parts.append(f"about {in_words(left)} left" if left is not None else "waiting for the model")
    else:
        parts += [{"stopped": "stopped", "failed": "ended early"}.get(batch.state, "done"), in_words(batch.seconds())]
    return " · ".join(part for part in parts if part)
