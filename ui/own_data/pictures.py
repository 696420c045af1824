"""Own pictures on the page: what they are like, a training on them with an estimate, and what came of it."""

from itertools import groupby
from typing import Any

import numpy as np
import streamlit as st

from experiments.config import CNN_GROUPS, CNN_MODELS, PRETRAINED, PRETRAINED_CNNS, PRETRAINED_SIZE, RANDOM, UserError
from experiments.data.report import PARTS, DataReport, counts_table, examine
from tasks.texts import format_duration
from ui.own_data.choosing import LOOKED_AT, choose_data
from ui.own_data.estimate import seconds_per_image, training_seconds
from ui.own_data.starting import draw_results, draw_start
from ui.pictures.heatmaps import enlarged
from ui.plain import escaped, inert_cell, visible
from ui.session import versions

ENTRY = "cnn"
DATA_DIR = "data"
SIZES = [32, 64, 96, 128, 224]
THUMBNAIL = 64
MOST_SHOWN = 100
Seen = tuple[DataReport, list[tuple[str, np.ndarray]]]


def draw_pictures() -> None:
    """The whole tab."""
    left, right = st.columns([2, 3], gap="large")
    with left:
        path = choose_data()
    with right:
        if path is None:
            st.info("A report on your pictures appears here; then you can train a network on them.")
            return
        size = st.select_slider(
            "Size to which they are resized, in pixels",
            SIZES,
            key="own-size",
            persist_state="session",
            help="32 is fast, and enough for simple pictures. From 128 up networks are those of their papers: slow "
            "without a GPU.",
        )
        try:
            report, sample = _looked_at(path, size)
        except UserError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
        draw_report(report, sample)
    draw_training(path, report)
    found = [one for one in versions() if one.name == f"cnn-{report.name}"]
    draw_results(ENTRY, found, "No CNN has been trained from here yet.")


def _looked_at(path: str, size: int) -> Seen:
    """The report and a sample, kept for the session with path and size: every click draws the page anew.

    Raises DataError for what cannot be used.
    """
    before = st.session_state.get(LOOKED_AT)
    again = st.button("Look again", key="own-again", icon=":material/refresh:", help="Files may have changed.")
    if before is None or before[:2] != (path, size) or again:
        bar = st.progress(0.0, "Decoding pictures")

        def show(done: int, total: int) -> None:
            if done % max(1, total // 100) == 0:
                bar.progress(done / total, f"{done:,} of {total:,} pictures decoded")

        try:
            st.session_state[LOOKED_AT] = before = (path, size, examine(path, DATA_DIR, size, show))
        finally:
            bar.empty()
    return before[2]


def draw_report(report: DataReport, sample: list[tuple[str, np.ndarray]]) -> None:
    """Counts, sizes, warnings, some pictures."""
    total = sum(sum(parts.values()) for parts in report.counts.values())
    sizes = " to ".join(f"{w} x {h}" for w, h in dict.fromkeys((report.sizes["smallest"], report.sizes["largest"])))
    kind = "gray" if report.channels == 1 else "color"
    st.header(escaped(report.name))
    st.caption(escaped(f"{total:,} {kind} pictures of {len(report.counts)} classes, {sizes} pixels; {report.origin}"))
    for warning in report.warnings:
        st.warning(escaped(f"{warning[0].upper()}{warning[1:]}."), icon=":material/warning:")
    with st.container(horizontal=True):
        for label, pictures in groupby(sample, key=lambda one: one[0]):
            strip = np.concatenate([_thumbnail(pixels) for _, pixels in pictures], axis=1)
            st.image(strip, caption=escaped(label), alt=f"Pictures of the class {label}")
    st.dataframe(_inert(counts_table(report)), hide_index=True)
    if report.left_out:
        with st.expander(f"Files left out ({len(report.left_out):,})"):
            _draw_rows([{"file": path, "why": why} for path, why in report.left_out])
    if report.duplicates:
        with st.expander(f"The same picture several times ({len(report.duplicates):,})"):
            _draw_rows(
                [
                    {name: ", ".join(dict.fromkeys(getattr(copy, name) for copy in group)) for name in group[0]._fields}
                    for group in report.duplicates
                ]
            )


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    gray = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return enlarged(gray, scale=max(1, THUMBNAIL // len(pixels)))


def _draw_rows(rows: list[dict[str, Any]]) -> None:
    st.dataframe(_inert(rows[:MOST_SHOWN]), hide_index=True)
    if len(rows) > MOST_SHOWN:
        st.caption(f"The first {MOST_SHOWN}; the report of a training has more.")


def _inert(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Rows for a table; names of files may have line breaks, and be no Unicode."""
    return [
        {name: inert_cell(visible(value) if isinstance(value, str) else value) for name, value in row.items()}
        for row in rows
    ]


def draw_training(path: str, report: DataReport) -> None:
    """The few settings that matter here, how long it will take, and the button."""
    st.header("Train a network on them")
    first, second, third = st.columns(3, vertical_alignment="bottom")
    names = list(dict.fromkeys([*CNN_GROUPS["small"], *CNN_MODELS]))
    model = first.selectbox("Network", names, names.index("resnet20"), key="own-model", persist_state="session")
    epochs = second.number_input("Epochs", 1, 1000, 15, key="own-epochs", persist_state="session")
    flip = third.toggle(
        "Mirror pictures",
        key="own-flip",
        persist_state="session",
        help="In training, if what they show stays of its class: true of most things, not of letters and digits.",
    )
    weights = _choose_weights(model, report.image_size)
    try:
        step = _step(model, len(report.counts), report.channels, report.image_size)
    except ValueError as error:
        st.error(escaped(f"{error}."), icon=":material/error:")
        return
    training, validation = (sum(parts[part] for parts in report.counts.values()) for part in PARTS[:2])
    took = format_duration(training_seconds(step, training, validation, epochs))
    typed = {"model": model, "dataset": path, "image_size": str(report.image_size), "epochs": str(epochs)}
    typed |= {"flip": str(flip).lower(), "weights": weights}
    draw_start(ENTRY, typed, "own", lambda _: f"About {took} on this machine's CPU, as busy as it is now.")


def _choose_weights(model: str, size: int) -> str:
    """Random weights, or, where there are any, the pretrained ones."""
    if model not in PRETRAINED_CNNS or size < PRETRAINED_SIZE:
        return RANDOM
    chosen = st.toggle(
        "Start from ImageNet weights",
        key="own-pretrained",
        persist_state="session",
        help="What the network has learned from the 1.2 million pictures of ImageNet, downloaded once from the Hugging "
        "Face Hub.",
    )
    return PRETRAINED if chosen else RANDOM


@st.cache_data(show_spinner="Timing a few steps of the network")
def _step(model: str, classes: int, channels: int, size: int) -> float:
    return seconds_per_image(model, classes, channels, size)
