"""Finished trainings as MLflow has them, for display: parameters, final metrics, curves, reports, predictions.

Only what was logged is read; nothing is computed anew but the number of a network's parameters where its run does not
say it.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tasks.json_files import parse_json
from tasks.runs.reading import artifact_file, is_absent, search_runs
from tasks.runs.store import open_store

if TYPE_CHECKING:
    import numpy as np

FINISHED = "FINISHED"
CLASSIFICATION, REVERSAL = "image-classification", "sequence-reversal"
# Runs that one query of SQLite may name, and values that one answer may have.
RUNS_A_QUESTION, VALUES_AN_ANSWER = 500, 1_000_000
THREADS = 8
REPORT, PREDICTIONS, COMPARISON = (
    "reports/classification_report.json",
    "reports/test_predictions.npz",
    "reports/comparison.html",
)
# What scikit-learn's report holds besides the classes.
AVERAGES = ("accuracy", "micro avg", "macro avg", "weighted avg")

# A metric's values by epoch.
Curve = Mapping[int, float]


@dataclass(frozen=True)
class FinishedTraining:
    """A training that went to its end, tests and all.

    Attributes:
        task: image-classification or sequence-reversal.
        parent_id: the comparison or search that it belongs to; empty without one.
        best_epoch: the epoch that was kept, the best by validation.
        settings: the run's parameters, as text.
        tags: those of this project, without MLflow's own.
        metrics: the last value of every metric; those named `test_*` are of the kept epoch.
        model_id: the logged model; empty if the run has none.
    """

    run_id: str
    experiment_id: str
    name: str
    task: str
    model: str
    dataset: str
    seed: int
    started: datetime
    parent_id: str
    best_epoch: int
    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    model_id: str


@dataclass(frozen=True)
class LoggedPredictions:
    """What a classifier said about the test images: labels int64 `(n,)`, probabilities float32 `(n, classes)`."""

    labels: "np.ndarray"
    probabilities: "np.ndarray"

    def confusion(self) -> "np.ndarray":
        """Counts int64 `(classes, classes)`: rows are the true classes, columns the predicted ones."""
        import numpy as np

        classes = self.probabilities.shape[1]
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (self.labels, self.probabilities.argmax(axis=1)), 1)
        return matrix


def finished_trainings(task: str) -> list[FinishedTraining]:
    """The finished trainings of a task's networks in all experiments, also nested ones, newest first."""
    return [
        _training(run)
        for run in search_runs(open_store(), f"tags.task = '{task}' and attributes.status = '{FINISHED}'")
        if _is_training(run)
    ]


def find_trainings(run_ids: Iterable[str]) -> dict[str, FinishedTraining]:
    """Those of the runs that are finished trainings, by id: one question for all of them."""
    return {
        run.info.run_id: _training(run) for run in _runs(run_ids) if run.info.status == FINISHED and _is_training(run)
    }


def comparison_names(run_ids: Iterable[str]) -> dict[str, str]:
    """The names of those of the runs that are comparisons (they have a tag `grid`), by id, newest first."""
    found = [run for run in _runs(run_ids) if "grid" in run.data.tags]
    return {run.info.run_id: run.info.run_name or run.info.run_id for run in found}


def _runs(run_ids: Iterable[str]) -> list[Run]:
    """The runs of these ids that there are, by one question."""
    wanted = ", ".join(f"'{run_id}'" for run_id in sorted(set(run_ids)) if run_id.isalnum())
    return search_runs(open_store(), f"attributes.run_id IN ({wanted})") if wanted else []


def training_curves(run_ids: Sequence[str], metrics: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Histories of metrics by run and metric; what a run has not logged is left out.

    A database answers for all runs at once (100 runs, one metric: 40 ms; run by run 280 ms). A tracking server has to
    be asked run by run.
    """
    client = open_store()
    found: dict[str, dict[str, dict[int, float]]] = {run_id: {} for run_id in run_ids}
    bulk = getattr(client._tracking_client.store, "get_metric_history_bulk", None)
    if bulk is not None:
        for start in range(0, len(run_ids), RUNS_A_QUESTION):
            some = list(run_ids[start : start + RUNS_A_QUESTION])
            for name in metrics:
                for one in bulk(some, name, VALUES_AN_ANSWER):
                    found[one.run_id].setdefault(name, {})[one.step] = one.value
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            pairs = [(run_id, name) for run_id in run_ids for name in metrics]
            histories = pool.map(lambda pair: client.get_metric_history(*pair), pairs)
            for (run_id, name), history in zip(pairs, histories, strict=True):
                if history:
                    found[run_id][name] = {one.step: one.value for one in history}
    return {
        run_id: {name: dict(sorted(curve.items())) for name, curve in mine.items()} for run_id, mine in found.items()
    }


def classifier_predictions(run_id: str) -> LoggedPredictions:
    """What a classifier said about the test images. Raises FileNotFoundError if its run does not have them."""
    import numpy as np

    client = open_store()
    try:
        with artifact_file(client, client.get_run(run_id), PREDICTIONS) as path, np.load(path) as saved:
            found = LoggedPredictions(saved["labels"], saved["probabilities"])
        found.confusion()  # labels of classes that there are not
        return found
    except (ValueError, KeyError, IndexError, EOFError, BadZipFile) as error:
        raise FileNotFoundError(f"{PREDICTIONS} of run {run_id} cannot be read: {error}") from error


def class_report(run_id: str) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support by class name, in the order of the network's outputs.

    Raises FileNotFoundError if its run does not have it.
    """
    try:
        report = parse_json(report_file(run_id, REPORT))
        return {str(name): {**scores} for name, scores in report.items() if name not in AVERAGES}
    except (ValueError, TypeError, AttributeError) as error:
        raise FileNotFoundError(f"{REPORT} of run {run_id} cannot be read: {error}") from error


def report_file(run_id: str, path: str = COMPARISON) -> bytes:
    """A file among a run's artifacts. Raises FileNotFoundError if there is none."""
    client = open_store()
    with artifact_file(client, client.get_run(run_id), path) as file:
        return file.read_bytes()


def parameter_count(training: FinishedTraining) -> int | None:
    """Parameters of a training's network: as its run says, else those of the network that its logged model describes.

    None if neither is to be had. Raises MlflowException or OSError if the store does not answer.
    """
    told = training.tags.get("parameters", "")
    if told.isdigit():
        return int(told)
    if not training.model_id:
        return None
    try:
        # Only the description, not the weights: these may be far away.
        place = open_store().get_logged_model(training.model_id).artifact_location
        description = Path(download_artifacts(f"{place}/artifacts/model/config.json")).read_text(encoding="utf-8")
        return _count(training.task, parse_json(description))
    except MlflowException as error:
        if is_absent(error):
            return None
        raise
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _count(task: str, description: Mapping[str, Any]) -> int:
    """Parameters of the network of a description, which is built without memory for weights."""
    import torch

    with torch.device("meta"):
        if task == REVERSAL:
            from tasks.sequence_reversal import ReverserConfig

            network = ReverserConfig(**description).build()
        else:
            import models

            network = models.build(
                description["architecture"],
                len(description["classes"]),
                description["in_channels"],
                description["stem"],
            )
    return sum(parameter.numel() for parameter in network.parameters())


def _is_training(run: Run) -> bool:
    """Whether a run is a whole training: trials of a search, for one, are never tested."""
    tags, seed = run.data.tags, run.data.params.get("seed", "")
    said = tags.get("model") and tags.get("dataset") and tags.get("best_epoch", "").isdigit() and seed.isdigit()
    return bool(said) and any(name.startswith("test_") for name in run.data.metrics)


def _training(run: Run) -> FinishedTraining:
    tags = run.data.tags
    logged = run.outputs.model_outputs if run.outputs else []
    return FinishedTraining(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name or run.info.run_id,
        task=tags.get("task", ""),
        model=tags["model"],
        dataset=tags["dataset"],
        seed=int(run.data.params["seed"]),
        started=datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC),
        parent_id=tags.get("mlflow.parentRunId", ""),
        best_epoch=int(tags["best_epoch"]),
        settings=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags={key: value for key, value in tags.items() if not key.startswith("mlflow.")},
        model_id=logged[-1].model_id if logged else "",
    )
