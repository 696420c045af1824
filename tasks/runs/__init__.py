"""MLflow's tracking store for readers: open it safely, find runs, read what they logged.

Writing runs of trainings is `experiments.tracking`'s business.
"""

from tasks.runs.reading import (
    artifact_file,
    find_run,
    local_artifacts,
    logged_steps,
    metric_values,
    nested_runs,
    tagged_runs,
)
from tasks.runs.store import PICKLE_SWITCH, StoreUnreachableError, open_store, store_in_words, store_lock

__all__ = [
    "PICKLE_SWITCH",
    "StoreUnreachableError",
    "artifact_file",
    "find_run",
    "local_artifacts",
    "logged_steps",
    "metric_values",
    "nested_runs",
    "open_store",
    "store_in_words",
    "store_lock",
    "tagged_runs",
]
