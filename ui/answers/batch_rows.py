"""Where the rows of a batch come from: typed into a table on the page, or a CSV that is uploaded."""

from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from tasks import task_class
from tasks.csv_files import INDEX, CsvTable, TableError
from ui.answers.batch_file import (
    MAX_MB,
    MAX_PICTURES_MB,
    MAX_ROWS,
    SAMPLES,
    BatchLine,
    columns_of,
    missing_columns,
    read_batch,
    read_pictures,
    template,
)
from ui.panels import panel
from ui.plain import escaped

READ = "batch-read"  # the rows of the file that was uploaded last
# A name for the results, the rows, and columns of the file that stand for those of the task.
Given = tuple[str, CsvTable, dict[str, str]]


def typed_columns(task: str) -> list[str]:
    """The columns that can be typed; [] for tasks that need a picture."""
    columns = columns_of(task, task_class(task).inputs)
    return [] if columns.get("image") else [name for name in columns if name not in ("messages", "image")]


def draw_typed(task: str) -> Given | None:
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


def draw_upload(task: str) -> Given | None:
    """An upload, and the choice of columns of other names. None before there is a file. Raises TableError."""
    inputs = task_class(task).inputs
    required = [f"`{name}`" for name, needed in columns_of(task, inputs).items() if needed]
    st.write(
        f"Upload a CSV with the column{'s' if len(required) > 1 else ''} {', '.join(required)}: "
        f"up to {MAX_ROWS:,} rows and {MAX_MB} MB, UTF-8, with commas, semicolons, tabs or bars. "
        f"Where a column has another name, you can choose it. Other columns come back with the results. "
        f"{panel(task).batch_hint}"
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


def draw_pictures(task: str) -> tuple[str, list[BatchLine]] | None:
    """An upload of pictures, each a row. None before there are some. Raises TableError."""
    st.write(f"PNG, JPEG and zips of them: up to {MAX_ROWS:,} pictures and {MAX_PICTURES_MB} MB at once.")
    files = st.file_uploader(
        "Pictures",
        ["png", "jpg", "jpeg", "zip"],
        accept_multiple_files=True,
        max_upload_size=MAX_PICTURES_MB,
        key=f"batch-pictures-{task}",
    )
    if not files:
        return None
    seen = (tuple(file.file_id for file in files), task)
    if st.session_state.get(READ, (None,))[0] != seen:
        st.session_state[READ] = (seen, read_pictures([(file.name, file.getvalue()) for file in files]))
    return Path(files[0].name).stem if len(files) == 1 else "pictures", st.session_state[READ][1]


def _read(uploaded: UploadedFile, task: str) -> CsvTable:
    """The table in a file; read once, however often the page is drawn. Raises TableError."""
    seen = (uploaded.file_id, task)
    if st.session_state.get(READ, (None,))[0] != seen:
        st.session_state[READ] = (seen, read_batch(uploaded.getvalue(), task, task_class(task).inputs))
    return st.session_state[READ][1]


def _choose(table: CsvTable, task: str, file_id: str) -> dict[str, str]:
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
