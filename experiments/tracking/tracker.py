"""One run from start to end, as a training sees it: what it says here goes to the tracking store, or waits for it.

`experiments.tracking.run` makes trackers, and carries out what they say.
"""

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.tracking.register import Delivered, Delivery, deliver
from experiments.tracking.sending import Direct, Sender
from experiments.tracking.spool import Operation
from experiments.tracking.store import CONFIG_FILE, checkpoint_store
from tasks.runs import local_artifacts


class Tracker:
    """One active run.

    Attributes:
        run_id: its id.
        seconds: time spent in calls of the tracker so far.
        checkpoints: where the run's checkpoints are: among its artifacts if those are on a local disk.
        resumed_by: what resumes the run when it was cut off; empty while, or if, nothing does.
    """

    def __init__(self, client: Any, run: Any, known_epochs: set[int], sender: Direct | Sender) -> None:
        self.client = client
        self.run_id = run.info.run_id
        self.seconds = 0.0
        self.checkpoints = checkpoint_store(run)
        self._checkpoints_are_artifacts = local_artifacts(run) is not None
        self._known_params = set(run.data.params)
        self._known_metrics = set(run.data.metrics)
        self._known_epochs = known_epochs
        self.sender = sender
        self.resumed_by = ""

    def _send(self, operation: Operation, files: Path | None = None, copy: bool = True) -> None:
        with self.timed():
            self.sender.send(operation, files, copy)

    def start(self, name: str, description: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log what is known at the start: the readable name, parameters that the run lacks, tags, `config.json`."""
        new = {key: _text(value) for key, value in params.items() if key not in self._known_params}
        self._send(batch(params=new, tags={"mlflow.runName": name, "mlflow.note.content": description, **tags}))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / CONFIG_FILE
            path.write_text(json.dumps(dict(params), indent=2))
            self._send({"do": "files", "path": ""}, path)

    def log_dataset(self, name: str, origin: str, digest: str) -> None:
        """Log which data the run used."""
        self._send({"do": "input", "name": name, "origin": origin, "digest": digest})

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's metrics in one call, unless the run has them."""
        if epoch not in self._known_epochs:
            self._send(batch(metrics, epoch))
            self._known_epochs.add(epoch)

    def log_final(self, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        """Log metrics of the finished training that the run lacks, linked to the logged model."""
        new = {key: value for key, value in metrics.items() if key not in self._known_metrics}
        self._send(batch(new, step, model_id=model_id))

    def log_files(self, folder: Path) -> None:
        """Log a folder's content as artifacts, in the same subfolders."""
        self._send({"do": "files", "path": ""}, folder)

    def log_file(self, file: Path, folder: str) -> None:
        """Log one file as an artifact in `folder`."""
        self._send({"do": "files", "path": folder}, file)

    def fetch_files(self, folder: str, to: Path) -> None:
        """Copy the artifacts of `folder`, if there are any, into a folder of this machine."""
        with self.timed():
            for item in self.client.list_artifacts(self.run_id, folder):
                fetched = self.client.download_artifacts(self.run_id, item.path, str(to))
                shutil.move(fetched, to / Path(item.path).name)

    def upload_checkpoints(self) -> None:
        """Copy the checkpoints to the artifacts, where those are not on a local disk."""
        if not self._checkpoints_are_artifacts:
            self._send({"do": "files", "path": "checkpoints"}, self.checkpoints.folder, copy=False)

    def describe(
        self, description: str, tags: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Replace the description, set tags, log single values, in one call."""
        self._send(batch(metrics or {}, tags={"mlflow.note.content": description, **(tags or {})}))

    def tag(self, **tags: str) -> None:
        """Set tags."""
        self._send(batch(tags=tags))

    def deliver(self, delivery: Delivery, folder: Path) -> Delivered | None:
        """Take a trained model into the registry; None if the server is away: then `deliver_later` is to be called."""
        with self.timed():
            return self.sender.attempt(lambda: deliver(self.run_id, delivery, folder, self.log_final))

    def deliver_later(self, delivery: Delivery, folder: Path, description: str, tags: Mapping[str, str]) -> None:
        """Spool what `deliver` could not do, and the run's description, which says `when_back` until it is done."""
        assert isinstance(self.sender, Sender)
        values = {"delivery": dataclasses.asdict(delivery), "description": description, "tags": dict(tags)}
        self.sender.keep({"do": "model", "instead": self.when_back, **values}, folder)

    @property
    def when_back(self) -> str:
        """Why a model is not in the registry yet, and what to type."""
        assert isinstance(self.sender, Sender)  # a store that is waited for is never away
        return f"not registered yet: {self.sender.server} does not answer; {self.sender.advice}"

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what is done within as tracking."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)


def batch(
    metrics: Mapping[str, float] | None = None,
    step: int = 0,
    *,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    model_id: str | None = None,
) -> Operation:
    """Values to be logged in one call, each metric with its own time, by which a second sending is known."""
    moment = now()
    values = [[key, value, moment, step, model_id] for key, value in (metrics or {}).items()]
    return {"do": "batch", "metrics": values, "params": dict(params or {}), "tags": dict(tags or {})}


def _text(value: Any) -> str:
    """A parameter as people type it: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)
