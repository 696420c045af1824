"""Own texts on the page: what they are like, a fine-tuning on them, and what came of it."""

from pathlib import Path
from typing import Any

import streamlit as st

from experiments.config import FinetuneConfig, UserError, finetune_epochs
from experiments.data.text_files import columns_in, file_named
from experiments.data.texts import load_texts
from tasks.catalog import catalog
from tasks.texts import format_duration
from ui.own_data.estimate import seconds_per_text, training_seconds
from ui.own_data.keeping import HOME, TEXTS, keep_texts, kept_texts
from ui.own_data.starting import draw_results, draw_start
from ui.plain import escaped, inert_cell
from ui.session import versions

TASK, ENTRY = "sentiment-analysis", "finetune"
PATH = "own-texts-path"  # in the session's state
MOST_MB = 200
SHOWN, CHARACTERS = 20, 300
MOST_WORDS = 180  # of a text that a training reads


def draw_texts() -> None:
    """The whole tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        path = _choose_file()
    with right:
        if path is None:
            st.info("A report on your texts appears here; then you can train a model on them.")
            return
        try:
            changed_ns = file_named(path).stat().st_mtime_ns
            given = {"data": path, **_choose_columns(path, changed_ns)}
            report, sample = _looked_at(given, changed_ns)
        except UserError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
        _draw_report(report, sample)
    _draw_training(given, report)
    found = [one for one in versions() if one.task == TASK and one.tags.get("dataset") == report["file"]]
    draw_results(ENTRY, found, "No model has been fine-tuned from here yet.")


def _choose_file() -> str | None:
    """Draw the ways to a file. Returns the path of the one that was chosen; None before that."""
    count = st.session_state.get("own-texts-count", 0)  # an upload box anew is an empty one
    file = st.file_uploader(
        "A file with a text and its label in each row", list(TEXTS), max_upload_size=MOST_MB, key=f"own-texts-{count}"
    )
    st.caption(f"It is kept on the machine of this tool, under `{HOME}`, until you delete it there.")
    if file is not None:
        try:
            st.session_state[PATH] = keep_texts(file).path
        except UserError as error:
            st.error(escaped(str(error)), icon=":material/error:")
        else:
            st.session_state["own-texts-count"] = count + 1
            st.rerun()
    with st.form("own-texts-here", border=False):
        path = st.selectbox(
            "Or a path on this machine",
            list(dict.fromkeys([*kept_texts(), *filter(None, [st.session_state.get(PATH)])])),
            index=None,
            accept_new_options=True,
            placeholder="a path, such as /home/me/reviews.csv",
            key="own-texts-typed",
        )
        if st.form_submit_button("Look at it", icon=":material/search:") and path:
            st.session_state[PATH] = path
    return st.session_state.get(PATH)


@st.cache_data(max_entries=5, show_spinner="Reading your texts")
def _columns_in(path: str, changed_ns: int) -> tuple[str, ...]:  # noqa: ARG001
    return columns_in(path)


def _choose_columns(path: str, changed_ns: int) -> dict[str, Any]:
    """Which columns hold texts and labels; `text` and `label` are offered first. Raises ConfigError."""
    names = _columns_in(path, changed_ns)
    lower = [name.casefold() for name in names]
    places = {
        use: lower.index(use) if use in lower else min(n, len(names) - 1) for n, use in enumerate(("text", "label"))
    }
    columns = st.columns(2)
    chosen: dict[str, Any] = {
        use: place.selectbox(f"Column of the {use}s", names, places[use], key=f"own-texts-{use}-{path}")
        for use, place in zip(places, columns, strict=True)
    }
    merge = st.toggle("Labels that differ only by case or blanks are the same", key="own-texts-merge")
    return {**chosen, "merge_labels": merge}


@st.cache_data(max_entries=5, show_spinner="Reading your texts")
def _looked_at(given: dict[str, Any], changed_ns: int) -> tuple[dict[str, Any], list[dict[str, str]]]:  # noqa: ARG001
    """The report of a file, and some of its rows. Raises ConfigError."""
    data = load_texts(FinetuneConfig(**given))
    rows = zip(data.texts[:SHOWN], data.labels[:SHOWN], strict=True)
    return data.report, [{"text": text[:CHARACTERS], "label": data.classes[label]} for text, label in rows]


def _draw_report(report: dict[str, Any], sample: list[dict[str, str]]) -> None:
    """Counts, lengths, warnings, some rows."""
    st.header(escaped(report["file"]))
    words = report["lengths"]["words"]
    st.caption(
        f"{report['rows']:,} texts of {len(report['classes'])} classes; of {words['median']:.0f} words in the median, "
        f"{words['max']:,} at most"
    )
    for warning in report["warnings"]:
        st.warning(escaped(f"{warning[0].upper()}{warning[1:]}."), icon=":material/warning:")
    counts = [{"class": inert_cell(name), **parts} for name, parts in report["classes"].items()]
    st.dataframe(counts, hide_index=True)
    with st.expander("The first rows"):
        st.dataframe([{name: inert_cell(cell) for name, cell in row.items()} for row in sample], hide_index=True)


def _draw_training(given: dict[str, Any], report: dict[str, Any]) -> None:
    """The few settings that matter here, how long it will take, and the button."""
    st.header("Train a model on them")
    first, second = st.columns(2)
    offers = catalog()[TASK]
    names = ["auto", *(model.model_id for model in offers.models)]
    model = first.selectbox(
        "Model to begin with",
        names,
        accept_new_options=True,
        key="own-texts-model",
        persist_state="session",
        help="auto is the starter that comes with the project: English, small, minutes on a CPU. An id on the Hub or a "
        "folder can be typed.",
    )
    epochs = second.text_input("Epochs", "auto", key="own-texts-epochs", help="auto: by the number of texts")
    typed = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    typed |= {"model": model or "auto", "epochs": epochs}
    draw_start(ENTRY, typed, "own-texts", lambda values: _estimate(typed["model"], values.get("epochs"), report))


def _estimate(model: str, epochs: str | None, report: dict[str, Any]) -> str:
    """How long a training will take, if the model is on this machine."""
    folder = catalog()[TASK].starter_here if model == "auto" else Path(model).expanduser()
    step = _step(str(folder), min(report["lengths"]["words"]["median"], MOST_WORDS)) if folder else None
    if step is None:
        return "How long it will take is known when the model is here."
    training, validation = (sum(parts[part] for parts in report["classes"].values()) for part in ("train", "val"))
    took = training_seconds(step, training, validation, int(epochs or finetune_epochs(training)))
    return f"About {format_duration(took)} on this machine's CPU, as busy as it is now; less if it ends early."


@st.cache_data(show_spinner="Timing a few steps of the model")
def _step(folder: str, words: float) -> float | None:
    return seconds_per_text(Path(folder), words)
