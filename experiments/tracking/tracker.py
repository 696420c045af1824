"""One run from start to end, as a training sees it. `experiments.tracking.run` makes trackers."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]  # made at run time
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from experiments.tracking.calls import Calls, Result
from experiments.tracking.record import CONFIG_FILE, SNAPSHOTS, SPEED_TRIAL, Registration, SavedModel
from experiments.tracking.register import active, log_and_register
from experiments.tracking.store import checkpoint_store
from tasks.runs import local_artifacts, logged_steps

DIGEST_LENGTH = 36  # the most that MLflow's data set table takes; the tag data_sha256 has the whole
NOTE = "mlflow.note.content"


class Tracker:
    """One run.

    A training does not wait for what it logs on its way, if that goes to a server: the data set, epochs, snapshots,
    tags, single values. It does for its start, for files and models, and in `flush`.

    Attributes:
        run_id: its id.
        seconds: time that the run has waited for calls of the tracker so far.
        checkpoints: where the run's checkpoints are: among its artifacts if those are on a local disk.
        snapshots: the folder on this machine for figures of single epochs; also among the artifacts, or beside the
            checkpoints, until the store has them.
        resumed_by: what resumes the run when it was cut off; empty while, or if, nothing does.
        ended: when what is logged was over, in milliseconds; 0 for now.
    """

    def __init__(self, client: MlflowClient, run: Run, known_epochs: set[int], calls: Calls) -> None:
        self.client, self.calls = client, calls
        self.run_id = run.info.run_id
        self.seconds = 0.0
        self.checkpoints = checkpoint_store(run)
        self.snapshots = self.checkpoints.folder.parent / SNAPSHOTS
        self.resumed_by = ""
        self.ended = 0
        self._in_place = local_artifacts(run) is not None
        self._known_params = set(run.data.params)
        self._known_metrics = set(run.data.metrics)
        self._known_epochs = known_epochs
        self._offered: list[Path] = []
        self._missing: list[Metric] = []
        self._tried = False

    def start(
        self, name: str, description: str, params: Mapping[str, Any], tags: Mapping[str, str], speed_trial: str = ""
    ) -> None:
        """Log what is known at the start: the readable name, parameters that the run lacks, tags, `config.json`.

        Without these a run cannot be resumed: they are waited for. Raises StoreUnreachableError as `flush`.
        """
        new = [Param(key, _text(value)) for key, value in params.items() if key not in self._known_params]
        all_tags = _tags({"mlflow.runName": name, NOTE: description, **tags})
        self._now(lambda: self.client.log_batch(self.run_id, params=new, tags=all_tags))
        settled = {SPEED_TRIAL: speed_trial} if speed_trial else {}
        self._now(lambda: self.client.log_dict(self.run_id, {**params, **settled}, CONFIG_FILE))

    def log_dataset(self, name: str, origin: str, digest: str) -> None:
        """Log which data the run used."""
        facts = MetaDataset(LocalArtifactDatasetSource(origin), name=name, digest=digest[:DIGEST_LENGTH]).to_dict()
        dataset = Dataset(**{key: facts[key] for key in ("name", "digest", "source_type", "source")})
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
        self._later(lambda: self.client.log_inputs(self.run_id, inputs))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float], moment: int = 0) -> None:
        """Log an epoch's metrics, with those that the store still lacks, in one call, unless the run has them.

        `moment` is when they were measured, in milliseconds; 0 for now.
        """
        if epoch not in self._known_epochs:
            self._known_epochs.add(epoch)
            self._add(metrics, epoch, moment=moment)
            self._later(self._log_missing)

    def log_final(self, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        """Log metrics of the finished training that the run lacks, linked to the logged model."""
        self._add_final(metrics, step, model_id)
        self._later(self._log_missing)

    def log_files(self, folder: Path) -> None:
        """Log a folder's content as artifacts, in the same subfolders."""
        self._now(lambda: self.client.log_artifacts(self.run_id, str(folder)))

    def log_file(self, file: Path, folder: str) -> None:
        """Log one file as an artifact in `folder`."""
        self._now(lambda: self.client.log_artifact(self.run_id, str(file), folder))

    def fetch_snapshots(self) -> None:
        """Copy the figures that this machine lacks from the artifacts, if there are any."""
        if not self._in_place:
            self._now(self._fetch_snapshots)

    def log_snapshots(self) -> None:
        """Log the figures in `snapshots` that the artifacts lack."""
        files = sorted(self.snapshots.glob("*"))  # by now: the next one may be half drawn when they are logged
        if files != self._offered and not self._in_place:
            self._offered = files
            self._later(lambda: self._log_snapshots(files))

    def log_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Log a value as the artifact `name`."""
        self._later(lambda: self.client.log_dict(self.run_id, dict(value), name))

    def upload_checkpoints(self) -> None:
        """Copy the checkpoints to the artifacts, where those are not on a local disk."""
        if not self._in_place:
            folder = str(self.checkpoints.folder)
            self._now(lambda: self.client.log_artifacts(self.run_id, folder, "checkpoints"))

    def describe(
        self, description: str, tags: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Replace the description, set tags, log single values."""
        self._add(metrics or {}, 0)
        self._later(self._log_missing)
        self.tag(**{NOTE: description, **(tags or {})})

    def tag(self, **tags: str) -> None:
        """Set tags."""
        self._later(lambda: self.client.log_batch(self.run_id, tags=_tags(tags)))

    def log_and_register(
        self, model: SavedModel, folder: Path, tested: Mapping[str, float], step: int, wanted: Registration | None
    ) -> tuple[str, str]:
        """Take a trained model into the registry, once; see `register.log_and_register`."""

        def log_tested(model_id: str) -> None:
            self._add_final(tested, step, model_id)
            self._log_missing()

        return self._now(lambda: log_and_register(self.run_id, model, folder, wanted, log_tested))

    def active(self) -> AbstractContextManager[None]:
        """Have the run be MLflow's active one, to which models are logged."""
        return active(self.run_id)

    def flush(self) -> None:
        """Wait until all is logged. Raises StoreUnreachableError if the server does not answer."""
        self._now(lambda: None)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what is done within as tracking."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def _later(self, call: Callable[[], object]) -> None:
        with self.timed():
            self.calls.later(call)

    def _now(self, call: Callable[[], Result]) -> Result:
        with self.timed():
            return self.calls.now(call)

    def _add(self, metrics: Mapping[str, float], step: int, model_id: str | None = None, moment: int = 0) -> None:
        moment = moment or self.ended or now()
        self._missing += [
            Metric(key, value, moment, step, model_id=model_id, run_id=self.run_id) for key, value in metrics.items()
        ]

    def _add_final(self, metrics: Mapping[str, float], step: int, model_id: str | None) -> None:
        self._add({key: value for key, value in metrics.items() if key not in self._known_metrics}, step, model_id)
        self._known_metrics |= set(metrics)

    def _log_missing(self) -> None:
        """Log all metrics that wait; if an earlier try may have got through, only those that the run does not have."""
        metrics = self._missing[:]
        lacking = metrics
        if self._tried:
            known = {key: logged_steps(self.client, self.run_id, key) for key in {metric.key for metric in metrics}}
            lacking = [metric for metric in metrics if metric.step not in known[metric.key]]
        if lacking:
            self._tried = True
            self.client.log_batch(self.run_id, metrics=lacking)
        self._tried = False
        del self._missing[: len(metrics)]

    def _fetch_snapshots(self) -> None:
        for item in self.client.list_artifacts(self.run_id, SNAPSHOTS):
            if not (self.snapshots / Path(item.path).name).exists():
                self.client.download_artifacts(self.run_id, item.path, str(self.checkpoints.folder.parent))

    def _log_snapshots(self, files: list[Path]) -> None:
        there = {Path(item.path).name for item in self.client.list_artifacts(self.run_id, SNAPSHOTS)}
        for file in files:
            if file.name not in there:
                self.client.log_artifact(self.run_id, str(file), SNAPSHOTS)


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(key, value) for key, value in tags.items()]


def _text(value: Any) -> str:
    """A parameter as users type it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)
