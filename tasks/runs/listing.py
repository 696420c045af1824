"""All runs as one table, and of one run its files and the pictures that it got wrong."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import mlflow
from mlflow.entities import Run

from tasks.runs.reading import artifact_file
from tasks.runs.store import open_store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_RUNS = 1000
FOLDERS = (None, "reports", "plots")  # where programs log what people look at; None: the root
MISTAKES = "reports/test_mistakes.npz"


@dataclass(frozen=True)
class Mistakes:
    """Test images that a classifier got wrong, of each kind of mistake those of which it was surest.

    Attributes:
        index: int64 `(n,)`: their places among the test images, as in the predictions.
        pixels: uint8 `(n, height, width, channels)`.
        files: of the user's own pictures; empty for those of a published data set.
    """

    index: "np.ndarray"
    pixels: "np.ndarray"
    files: tuple[str, ...] = ()


def runs_table(limit: int = MOST_RUNS) -> "pd.DataFrame":
    """The newest runs of all experiments, by one question however many there are.

    Columns are MLflow's (`run_id`, `status`, `start_time`, `end_time`, `params.*`, `metrics.*`, `tags.*`), and
    `experiment`, its name.
    """
    names = {one.experiment_id: one.name for one in open_store().search_experiments()}
    found = mlflow.search_runs(list(names), max_results=limit, order_by=["attributes.start_time DESC"])
    return found.assign(experiment=found["experiment_id"].map(names.get))


def artifact_names(run: Run) -> list[str]:
    """The files that a run logged at the root of its artifacts, as reports and as plots."""
    client = open_store()
    listed = [item for folder in FOLDERS for item in client.list_artifacts(run.info.run_id, folder)]
    return [item.path for item in listed if not item.is_dir]


def classifier_mistakes(run_id: str) -> Mistakes:
    """The pictures that a classifier got wrong. Raises FileNotFoundError if its run does not have them."""
    import numpy as np

    client = open_store()
    try:
        with artifact_file(client, client.get_run(run_id), MISTAKES) as path, np.load(path) as saved:
            files = saved["files"].tolist() if "files" in saved else ()
            return Mistakes(saved["index"], saved["pixels"], tuple(files))
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise FileNotFoundError(f"{MISTAKES} of run {run_id} cannot be read: {error}") from error
