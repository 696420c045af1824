"""Writing runs to MLflow: the only module that does.

A `Tracker` is one run from start to end. Whatever ends the run ends it in MLflow too: FINISHED, FAILED with a tag
`error`, or KILLED after Ctrl-C. Going on with a run logs what the run lacks and nothing twice.
"""

import errno
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made at run time
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from experiments.checkpoint import CheckpointStore
from experiments.config import ConfigError, TrainingError, UserError
from tasks.runs import find_run, local_artifacts, logged_steps, open_store

CONFIG_FILE = "config.json"
DIGEST_LENGTH = 36  # the most that MLflow's data set table takes; the tag data_sha256 has the whole


class Tracker:
    """One active run.

    Attributes:
        run_id: its id.
        seconds: time spent in calls of the tracker so far.
        checkpoints: where the run's checkpoints are: among its artifacts if those are on a local disk.
    """

    def __init__(self, client: MlflowClient, run: Run, known_epochs: set[int]) -> None:
        self.client = client
        self.run_id = run.info.run_id
        self.seconds = 0.0
        self.checkpoints = checkpoint_store(run)
        self._known_params = set(run.data.params)
        self._known_metrics = set(run.data.metrics)
        self._known_epochs = known_epochs

    def start(self, name: str, description: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log what is known at the start: the readable name, parameters that the run lacks, tags, `config.json`."""
        with self.timed():
            new = [Param(key, _text(value)) for key, value in params.items() if key not in self._known_params]
            all_tags = {"mlflow.runName": name, "mlflow.note.content": description, **tags}
            self.client.log_batch(self.run_id, params=new, tags=[RunTag(k, v) for k, v in all_tags.items()])
            self.client.log_dict(self.run_id, dict(params), CONFIG_FILE)

    def log_dataset(self, name: str, origin: str, digest: str) -> None:
        """Log which data the run used."""
        with self.timed():
            dataset = MetaDataset(LocalArtifactDatasetSource(origin), name=name, digest=digest[:DIGEST_LENGTH])
            mlflow.log_input(dataset, context="training")

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's metrics in one call, unless the run has them."""
        if epoch in self._known_epochs:
            return
        with self.timed():
            now = int(time.time() * 1000)
            self.client.log_batch(self.run_id, [Metric(key, value, now, epoch) for key, value in metrics.items()])
            self._known_epochs.add(epoch)

    def log_final(self, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        """Log metrics of the finished training that the run lacks, linked to the logged model."""
        with self.timed():
            new = {key: value for key, value in metrics.items() if key not in self._known_metrics}
            mlflow.log_metrics(new, step=step, model_id=model_id)

    def log_files(self, folder: Path) -> None:
        """Log a folder's content as artifacts, in the same subfolders."""
        with self.timed():
            self.client.log_artifacts(self.run_id, str(folder))

    def log_file(self, file: Path, folder: str) -> None:
        """Log one file as an artifact in `folder`."""
        with self.timed():
            self.client.log_artifact(self.run_id, str(file), folder)

    def fetch_files(self, folder: str, to: Path) -> None:
        """Copy the artifacts of `folder`, if there are any, into a folder of this machine."""
        with self.timed():
            for item in self.client.list_artifacts(self.run_id, folder):
                fetched = self.client.download_artifacts(self.run_id, item.path, str(to))
                shutil.move(fetched, to / Path(item.path).name)

    def upload_checkpoints(self) -> None:
        """Copy the checkpoints to the artifacts, where those are not on a local disk."""
        if local_artifacts(self.client.get_run(self.run_id)) is None:
            with self.timed():
                self.client.log_artifacts(self.run_id, str(self.checkpoints.folder), "checkpoints")

    def describe(
        self, description: str, tags: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Replace the description, set tags, log single values, in one call."""
        with self.timed():
            now = int(time.time() * 1000)
            all_tags = [
                RunTag(key, value) for key, value in {"mlflow.note.content": description, **(tags or {})}.items()
            ]
            values = [Metric(key, value, now, 0) for key, value in (metrics or {}).items()]
            self.client.log_batch(self.run_id, metrics=values, tags=all_tags)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what is done within as tracking."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


def _text(value: Any) -> str:
    """A parameter as people type it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def tracked_run(
    experiment: str,
    resume: str = "none",
    *,
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    system_metrics: bool = True,
) -> Iterator[Tracker]:
    """An active run with `tags`: a new one, the one that `mlflow run` made, or the run `resume` again.

    A new run goes to the experiment that MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID name, else to `experiment`.
    """
    client = open_store()
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    known_epochs: set[int] = set()
    if resume != "none":
        known_epochs = logged_steps(client, resume, "val_loss")
        active = mlflow.start_run(run_id=resume, nested=parent is not None, log_system_metrics=system_metrics)
        if launched:
            _refer(client, launched, active)
    elif launched:
        active = mlflow.start_run(run_id=launched, log_system_metrics=system_metrics)
    else:
        active = mlflow.start_run(
            # Nested runs are shown under their parent only within its experiment.
            experiment_id=client.get_run(parent).info.experiment_id if parent else _experiment_id(client, experiment),
            parent_run_id=parent,
            nested=parent is not None,
            tags=dict(tags or {}),
            log_system_metrics=system_metrics,
        )
    with _ended_in_mlflow(client, active.info.run_id):
        yield Tracker(client, client.get_run(active.info.run_id), known_epochs)


def _refer(client: MlflowClient, launched: str, run: Run) -> None:
    """Say on the run that `mlflow run` made that another one is gone on with."""
    name, note = f"resumed {run.info.run_name}", f"See run {run.info.run_id}."
    tags = {"resumed_run": run.info.run_id, "mlflow.runName": name, "mlflow.note.content": note}
    client.log_batch(launched, tags=[RunTag(key, value) for key, value in tags.items()])


def shared_run(experiment: str, run_id: str | None = None) -> Tracker:
    """A run that several processes write to: a new one, the one that `mlflow run` made, or the run `run_id` again.

    Not being active in any of them, it is RUNNING until one of them calls `end_shared_run`.
    """
    client = open_store()
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    if run_id is None:
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME", experiment)
        where = os.environ.get("MLFLOW_EXPERIMENT_ID") or _existing_experiment(client, named)
        run_id = launched or client.create_run(where, tags=resolve_tags()).info.run_id
    else:
        if launched and launched != run_id:
            _refer(client, launched, client.get_run(run_id))
        client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
    return Tracker(client, client.get_run(run_id), set())


def end_shared_run(run_id: str, status: str, tags: Mapping[str, str] | None = None) -> None:
    """Give a run that is active nowhere its final status: FINISHED, FAILED (a tag `error` says why) or KILLED."""
    client = open_store()
    client.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in (tags or {}).items()])
    client.set_terminated(run_id, status)


def abandon_run(run_id: str, reason: str) -> None:
    """Mark a cut-off run that nobody will go on with as FAILED, and say why."""
    end_shared_run(run_id, RunStatus.to_string(RunStatus.FAILED), {"error": reason})


def _experiment_id(client: MlflowClient, name: str) -> str | None:
    if os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return None  # start_run reads them
    return _existing_experiment(client, name)


def _existing_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, made if need be."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name)
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found.experiment_id


@contextmanager
def _ended_in_mlflow(client: MlflowClient, run_id: str) -> Iterator[None]:
    status = RunStatus.to_string(RunStatus.FAILED)
    try:
        yield
        status = RunStatus.to_string(RunStatus.FINISHED)
    except KeyboardInterrupt:
        status = RunStatus.to_string(RunStatus.KILLED)
        raise
    except BaseException as error:
        client.set_tag(run_id, "error", f"{type(error).__name__}: {error}"[:5000])
        if isinstance(error, UserError):  # the run had started: no longer only a matter of what was typed
            raise TrainingError(str(error)) from error
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise TrainingError(f"no space left on the disk ({error.filename or 'artifacts'})") from error
        raise
    finally:
        mlflow.end_run(status)


def artifact_disk(experiment: str) -> Path:
    """An existing folder on the disk that will hold the checkpoints of a new run, for asking how much is free."""
    client = open_store()
    launched = os.environ.get("MLFLOW_RUN_ID")
    if launched:
        folder = checkpoint_store(client.get_run(launched)).folder
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", experiment)
        found = client.get_experiment_by_name(name)
        location = (found.artifact_location if found else "").removeprefix("file://")
        folder = Path(location if location.startswith("/") else ".")
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def store_folder() -> Path:
    """The folder of the tracking store; the working directory where the store is behind a server."""
    uri = mlflow.get_tracking_uri()
    return Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:///") else Path()


def checkpoint_store(run: Run) -> CheckpointStore:
    """Where a run's checkpoints are, or will be, on this machine."""
    artifacts = local_artifacts(run)
    return CheckpointStore((artifacts or Path("checkpoints") / run.info.run_id) / "checkpoints")


def resumable_run(run_id: str) -> tuple[Run, dict[str, Any]]:
    """A run that can be gone on with, and its configuration.

    Raises ConfigError if there is no such run, it is finished or deleted, or it was not made by this program.
    """
    client = open_store()
    run = find_run(client, run_id)
    if run is None:
        raise ConfigError(f"resume is {run_id!r}, and there is no such run in {mlflow.get_tracking_uri()}")
    if run.info.lifecycle_stage != "active":
        raise ConfigError(f"resume is {run_id!r}, and that run is deleted")
    if run.info.status == RunStatus.to_string(RunStatus.FINISHED):
        raise ConfigError(f"resume is {run_id!r}, and that run is FINISHED: there is nothing to go on with")
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run_id, CONFIG_FILE, folder)
            return run, json.loads(Path(path).read_text())
        except (MlflowException, OSError, ValueError) as error:
            raise ConfigError(f"resume is {run_id!r}, and that run has no {CONFIG_FILE} of this program") from error


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
