"""Finished trainings for the pages, kept between drawings: asking MLflow anew at every click would be slow."""

from typing import TYPE_CHECKING

import streamlit as st

from tasks.runs import find_run, open_store, readable_errors
from tasks.runs.listing import Mistakes, artifact_names, classifier_mistakes, runs_table
from tasks.runs.trainings import (
    Curve,
    FinishedTraining,
    LoggedPredictions,
    class_report,
    classifier_predictions,
    comparison_names,
    find_trainings,
    finished_trainings,
    parameter_count,
    report_file,
    training_curves,
)
from ui.results.leaderboard import HISTORY

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

CLASSIFICATION = "image-classification"


@st.cache_data(ttl="10s", show_spinner=False)
def classifiers() -> list[FinishedTraining]:
    """All finished trainings of CNNs, newest first; read again after ten seconds. Raises StoreUnreachableError."""
    with readable_errors():
        return finished_trainings(CLASSIFICATION)


# What follows is asked by run id, and a finished run does not change.


@st.cache_data(ttl="1h", max_entries=20, show_spinner=False)
def histories(run_ids: tuple[str, ...], metrics: tuple[str, ...] = HISTORY) -> dict[str, dict[str, Curve]]:
    """Curves by run id and metric. Raises StoreUnreachableError."""
    with readable_errors():
        return {run_id: dict(curves) for run_id, curves in training_curves(run_ids, metrics).items()}


@st.cache_data(ttl="1h", max_entries=500, show_spinner="Counting parameters")
def parameters(_training: FinishedTraining, run_id: str) -> int | None:  # noqa: ARG001  # the id is the cache's key
    """How many parameters a training's network has, or None. Raises StoreUnreachableError."""
    with readable_errors():
        return parameter_count(_training)


@st.cache_data(ttl="1h", max_entries=200, show_spinner=False)
def tested(run_id: str) -> tuple[list[list[int]], dict[str, dict[str, float]]] | None:
    """Confusion counts and the report by class name; None if the run's files are not to be had.

    Raises StoreUnreachableError.
    """
    with readable_errors():
        try:
            counts, report = classifier_predictions(run_id).confusion().tolist(), class_report(run_id)
        except FileNotFoundError:
            return None
    return (counts, report) if len(counts) == len(report) else None


@st.cache_data(ttl="1m", max_entries=50, show_spinner=False)
def named_comparisons(run_ids: tuple[str, ...]) -> dict[str, str]:
    """Names of comparisons by id, newest first. Raises StoreUnreachableError."""
    with readable_errors():
        return comparison_names(run_ids)


@st.cache_data(ttl="5s", show_spinner="Reading MLflow")
def all_runs() -> "pd.DataFrame":
    """The newest runs of all experiments, as `runs_table` gives them. Raises StoreUnreachableError."""
    with readable_errors():
        return runs_table()


@st.cache_data(ttl="5s", max_entries=50, show_spinner=False)
def run_and_files(run_id: str) -> "tuple[Run, list[str]] | None":
    """A run and the names of its files; None if there is no such run. Raises StoreUnreachableError."""
    with readable_errors():
        run = find_run(open_store(), run_id)
        return (run, artifact_names(run)) if run else None


@st.cache_data(ttl="10s", max_entries=20, show_spinner=False)
def file_of(run_id: str, path: str) -> bytes | None:
    """A file that a run logged, or None if it is gone. Raises StoreUnreachableError."""
    with readable_errors():
        try:
            return report_file(run_id, path)
        except FileNotFoundError:
            return None


@st.cache_data(ttl="5s", max_entries=50, show_spinner=False)
def curves_of(run_id: str, metrics: tuple[str, ...]) -> dict[str, Curve]:
    """Curves of a run by metric, also while it is training. Raises StoreUnreachableError."""
    with readable_errors():
        return training_curves((run_id,), metrics)[run_id]


@st.cache_data(ttl="1h", max_entries=20, show_spinner=False)
def mistakes(run_id: str, ended: int | None) -> "tuple[LoggedPredictions, list[str], Mistakes | None] | None":  # noqa: ARG001
    """What a classifier said of the test images, its classes, and pictures of those that it got wrong; None for what
    its run does not have.

    Args: ended: when the run ended: before that, and before it was resumed, it has no predictions yet.

    Raises StoreUnreachableError.
    """
    with readable_errors():
        try:
            predictions, classes = classifier_predictions(run_id), list(class_report(run_id))
        except FileNotFoundError:
            return None
        if len(classes) != predictions.probabilities.shape[1]:
            return None
        try:
            kept = classifier_mistakes(run_id)
        except FileNotFoundError:
            return predictions, classes, None
        sound = len(kept.index) == len(kept.pixels) and all(0 <= one < len(predictions.labels) for one in kept.index)
        sound = sound and len(kept.files) in (0, len(kept.index))
        return predictions, classes, kept if sound else None


@st.cache_data(ttl="10s", max_entries=20, show_spinner=False)
def trainings_of(run_ids: tuple[str, ...]) -> dict[str, FinishedTraining]:
    """Those of the runs that are finished trainings, by id. Raises StoreUnreachableError."""
    with readable_errors():
        return find_trainings(run_ids)
