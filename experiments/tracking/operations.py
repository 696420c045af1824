"""What a run can be told, as operations that can be written down: carrying them out in MLflow.

Each is a JSON object with `do`: `batch`, `files`, `input`, `model` or `end`; `experiments.tracking.tracker` makes them,
`experiments.tracking.spool` keeps those that a server that is away could not be told.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made at run time
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException, RestException

from experiments.tracking.register import Delivery, deliver
from experiments.tracking.sending import AwayError
from experiments.tracking.spool import Operation
from experiments.tracking.store import impatient
from experiments.tracking.tracker import batch
from tasks.runs import logged_steps

DIGEST_LENGTH = 36  # the most that MLflow's data set table takes; the tag data_sha256 has the whole
# What MLflow calls the troubles of a server that is worth asking again.
AWAY_CODES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}


def perform(client: MlflowClient, run_id: str, operation: Operation, files: Path | None, again: bool = False) -> None:
    """Carry out an operation; with `again` so that what an earlier try got done is not done twice."""
    kind = operation["do"]
    if kind == "batch":
        metrics = [
            Metric(key, value, timestamp, step, model_id=model_id, run_id=run_id)
            for key, value, timestamp, step, model_id in operation["metrics"]
        ]
        if again:
            metrics = _lacking(client, run_id, metrics)
        params = [Param(key, value) for key, value in operation["params"].items()]
        tags = [RunTag(key, value) for key, value in operation["tags"].items()]
        client.log_batch(run_id, metrics, params, tags)
    elif kind == "files":
        assert files is not None
        log = client.log_artifacts if files.is_dir() else client.log_artifact
        log(run_id, str(files), operation["path"] or None)
    elif kind == "input":
        tag = InputTag("mlflow.data.context", "training")
        source = LocalArtifactDatasetSource(operation["origin"])
        facts = MetaDataset(source, name=operation["name"], digest=operation["digest"][:DIGEST_LENGTH]).to_dict()
        dataset = Dataset(**{key: facts[key] for key in ("name", "digest", "source_type", "source")})
        client.log_inputs(run_id, [DatasetInput(dataset, [tag])])
    elif kind == "model":
        assert files is not None
        _deliver_again(client, run_id, operation, files)
    elif kind == "end":
        client.set_terminated(run_id, operation["status"], operation["end_time"])
    else:
        raise ValueError(f"no operation is called {kind!r}")


def _lacking(client: MlflowClient, run_id: str, metrics: list[Metric]) -> list[Metric]:
    """Those of the metrics that a run has no value of at their step: it gets one value a step, whoever logs it."""
    known = {key: logged_steps(client, run_id, key) for key in {metric.key for metric in metrics}}
    return [metric for metric in metrics if metric.step not in known[metric.key]]


def _deliver_again(client: MlflowClient, run_id: str, operation: Operation, folder: Path) -> None:
    def log_metrics(metrics: Mapping[str, float], step: int, model_id: str) -> None:
        perform(client, run_id, batch(metrics, step, model_id=model_id), None, again=True)

    with _active(client, run_id):
        delivered = deliver(run_id, Delivery.from_values(operation["delivery"]), folder, log_metrics, again=True)
    note = operation["description"].replace(operation["instead"], delivered.decision)
    perform(client, run_id, batch(tags={**operation["tags"], "mlflow.note.content": note}), None)
    print(f"run {run_id}: {delivered.decision}")


@contextmanager
def _active(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Have a run be MLflow's active one; it keeps its status."""
    active = mlflow.active_run()
    if active is not None and active.info.run_id == run_id:
        yield
        return
    status = client.get_run(run_id).info.status
    with mlflow.start_run(run_id=run_id, nested=active is not None, log_system_metrics=False):
        yield
    client.update_run(run_id, status=status)


@contextmanager
def away_in_words() -> Iterator[None]:
    """Do not wait for a server, and turn what MLflow raises without one into AwayError; refusals stay what they are."""
    try:
        with impatient():
            yield
    except MlflowException as error:
        asked = isinstance(error, RestException) or str(error).startswith("API request to")
        if not asked or error.error_code not in AWAY_CODES:
            raise
        raise AwayError(_reason(error)) from error
    except requests.RequestException as error:
        if error.response is not None and error.response.status_code < 500:
            raise
        raise AwayError(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return nameless(f"{mlflow.get_tracking_uri()} does not answer ({text[:160]})")


def nameless(text: str) -> str:
    """A text without the names and passwords of its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)
