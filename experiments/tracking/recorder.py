"""What a training logs, kept in a folder where there is no MLflow; `experiments.comparison.importing` logs it later."""

import copy
import json
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from experiments.tracking.checkpoint import Checkpoint, CheckpointStore
from experiments.tracking.record import SNAPSHOTS, Registration, SavedModel
from tasks.disk import write_whole

RECORD, FILES, MODEL = "record.json", "files", "model"
WRITE_INTERVAL_S = 30.0


class Record(BaseModel):
    """All numbers and words of one training; moments are in milliseconds, as MLflow counts time."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    started: int
    ended: int = 0
    name: str = ""
    description: str = ""
    config: dict[str, Any] = {}
    speed_trial: str = ""
    tags: dict[str, str] = {}
    data: tuple[str, str, str] = ("", "", "")  # name, origin, SHA-256
    environment: dict[str, Any] = {}
    epochs: list[dict[str, float]] = []
    moments: list[int] = []  # of the epochs
    test: dict[str, float] = {}
    best_epoch: int = 0
    seconds: float = 0.0  # from the first moment to the last, over all tries
    model: SavedModel | None = None
    registration: Registration | None = None

    @property
    def params(self) -> dict[str, str]:
        """The configuration as MLflow has it."""
        return {key: str(value) for key, value in self.config.items()}


class Recorder:
    """Takes what a training gives a `Tracker`, and keeps it in a folder.

    Attributes:
        folder: holds `record.json`, `files/` (the artifacts), `model/` and `checkpoints/`.
        record: what is known so far, also from before the training was cut off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_id = folder, folder.name
        self.seconds, self.resumed_by = 0.0, ""
        self.checkpoints = LateCheckpoints(folder / "checkpoints")
        self.snapshots = folder / FILES / SNAPSHOTS
        self._began = time.perf_counter()
        try:
            self.record = Record.model_validate_json((folder / RECORD).read_bytes())
        except (OSError, ValidationError):
            self.record = Record(started=_now())
        self._before = self.record.seconds

    def rewind(self, epoch: int) -> None:
        """Forget what came after an epoch, whose checkpoint training continues from."""
        self._update(epochs=self.record.epochs[:epoch], moments=self.record.moments[:epoch])

    def start(
        self, name: str, description: str, params: Mapping[str, Any], tags: Mapping[str, str], speed_trial: str = ""
    ) -> None:
        """Keep what is known at the start."""
        given = {"name": name, "description": description, "config": dict(params), "speed_trial": speed_trial}
        self._update(**given, tags=dict(tags))

    def log_dataset(self, name: str, origin: str, digest: str) -> None:
        """Keep which data the training used."""
        self._update(data=(name, origin, digest))

    def log_environment(self, environment: Mapping[str, Any]) -> None:
        """Keep what the training's bits depend on: device, precision, versions."""
        self._update(environment=dict(environment))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep an epoch's metrics and when it ended, unless they are known."""
        known = self.record.epochs
        if epoch > len(known):
            self._update(epochs=[*known, dict(metrics)], moments=[*self.record.moments, _now()])

    def log_files(self, folder: Path) -> None:
        """Keep a folder's content, in the same subfolders."""
        shutil.copytree(folder, self.folder / FILES, dirs_exist_ok=True)

    def log_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a value as the file `name`."""
        write_whole(self.folder / FILES / name, json.dumps(value, indent=1).encode())

    def tag(self, **tags: str) -> None:
        """Keep tags."""
        self._update(tags={**self.record.tags, **tags})

    def log_and_register(
        self, model: SavedModel, folder: Path, tested: Mapping[str, float], step: int, wanted: Registration | None
    ) -> tuple[str, str]:
        """Keep the trained model, its test metrics, and how it is to be registered."""
        shutil.copytree(folder, self.folder / MODEL, dirs_exist_ok=True)
        self._update(test=dict(tested), best_epoch=step, model=model, registration=wanted)
        return "", NOT_REGISTERED

    def describe(self, description: str, tags: Mapping[str, str] | None = None) -> None:
        """Replace the description, keep tags; the training is finished."""
        self._update(description=description, ended=_now())
        self.tag(**(tags or {}))

    def flush(self) -> None:
        """Nothing waits to be logged."""

    def log_snapshots(self) -> None:
        """Figures of epochs are where they belong."""

    def upload_checkpoints(self) -> None:
        """Checkpoints are for resuming here only."""

    def _update(self, **values: Any) -> None:
        seconds = self._before + time.perf_counter() - self._began
        self.record = self.record.model_copy(update={**values, "seconds": seconds})
        write_whole(self.folder / RECORD, self.record.model_dump_json(indent=1).encode())


NOT_REGISTERED = "not registered: it was trained without MLflow"


class LateCheckpoints(CheckpointStore):
    """Checkpoints that stay in memory and are written every 30 s, and by `flush`: an epoch may take a second only."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._waiting: dict[int, Checkpoint] = {}
        self._keep: set[int] = set()
        self._written = time.monotonic()

    def save(self, epoch: int, tensors: dict[str, dict[str, Any]], values: dict[str, Any]) -> None:
        """Keep the state after `epoch`, a copy of it."""
        copies = {name: {key: value.clone() for key, value in part.items()} for name, part in tensors.items()}
        self._waiting[epoch] = Checkpoint(epoch, copies, copy.deepcopy(values))

    def load(self, epoch: int) -> Checkpoint:
        """As that of a `CheckpointStore`."""
        return self._waiting.get(epoch) or super().load(epoch)

    def prune(self, keep: Iterable[int]) -> None:
        """Forget all other epochs, those on the disk when there are newer ones on it."""
        self._keep = set(keep)
        self._waiting = {epoch: one for epoch, one in self._waiting.items() if epoch in self._keep}
        if time.monotonic() - self._written >= WRITE_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory only."""
        for epoch, one in sorted(self._waiting.items()):
            super().save(epoch, one.tensors, one.values)
        if self._waiting:
            super().prune(self._keep)
        self._waiting, self._written = {}, time.monotonic()


def _now() -> int:
    return int(time.time() * 1000)
