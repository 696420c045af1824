"""Resuming a run of MLflow that was cut off: with which configuration, and from which checkpoint."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout

from experiments.config import ConfigError, RunUnavailableError, TrainConfig, is_own
from experiments.tracking.checkpoint import Checkpoint, CheckpointError
from experiments.tracking.store import checkpoint_store, resumable_run
from experiments.training import devices
from experiments.training.continuation import FREE_TO_CHANGE, OPEN
from experiments.training.family import DataIdentity
from experiments.training.state import History
from tasks.runs import claim_file, open_store

Config = TypeVar("Config", bound=TrainConfig)


def resumed_config(config: Config, given: frozenset[str]) -> Config:
    """The configuration of the run that `config.resume` names, with what may change taken from `config`.

    Fields that were not given are the run's own. Raises ConfigError for a run that cannot be resumed, or when a given
    field contradicts it. Started by `mlflow run`, which always passes the declared defaults, a field counts as given
    only if it differs from its default.
    """
    run, written = resumable_run(config.resume)
    try:
        # A field that came later: its default keeps the behavior that the run was started with, but for this one.
        stored = type(config)(**{"memory_format": "channels_last", **written})
    except ConfigError as error:
        text = f"resume is {config.resume!r}, and that run is not one of this entry point and version: {error}"
        raise ConfigError(text) from None
    if "MLFLOW_RUN_ID" in os.environ:
        defaults = type(config)()
        given = frozenset(name for name in given if getattr(config, name) != getattr(defaults, name))
    for name in sorted(given - FREE_TO_CHANGE):
        value, before = getattr(config, name), getattr(stored, name)
        if value != before:
            raise ConfigError(
                f"{name} is {value!r}, and run {config.resume} was started with {before!r}; "
                f"leave {name} out, or start a new run"
            )
    device = devices.resolve_device(config.device) if "device" in given else stored.device
    if device == stored.device:  # what was settled for it once stays
        stored = stored.replace(threads=stored.threads or devices.ALL_THREADS)
        given -= {name for name, value in OPEN.items() if getattr(config, name) == value}
        if _processes(run) not in (None, int(os.environ.get("WORLD_SIZE", "1"))):  # they shared the cores differently
            stored = stored.replace(threads=devices.ALL_THREADS)
    else:
        given |= set(OPEN)
    free = FREE_TO_CHANGE & (given | {"resume"}) & set(type(config).model_fields)
    return stored.replace(**{name: getattr(config, name) for name in free})


def _processes(run: Any) -> int | None:
    """How many trained up to the newest checkpoint of a run that can be used; None without one."""
    try:
        newest = checkpoint_store(run).load_newest(needs=lambda checkpoint: checkpoint.epoch, warn=lambda _: None)
        return newest and newest.values["environment"]["processes"]
    except (CheckpointError, LookupError, TypeError):  # `find_checkpoint` says what is wrong
        return None


def claim(run_id: str) -> BaseFileLock:
    """Keep other processes from resuming the same run; released when this process ends, however it ends.

    Raises RunUnavailableError if another process has the run.
    """
    file = claim_file(open_store().get_run(run_id))
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        text = f"run {run_id} is being trained by another process; wait for it or stop it first"
        raise RunUnavailableError(text) from error
    return lock


def find_checkpoint(config: TrainConfig, data: DataIdentity, best_epoch: Callable[[History], int]) -> Checkpoint | None:
    """The newest usable checkpoint of the run that `config.resume` names, None if it was cut off before its first.

    Damaged ones are named on stderr. Raises ConfigError if none is usable or here, or `data` are not those of the run.
    """
    run, _ = resumable_run(config.resume)
    _check_data(run, config, data)
    store = checkpoint_store(run)
    try:
        checkpoint = store.load_newest(
            needs=lambda checkpoint: best_epoch(checkpoint.values["history"]),
            warn=lambda text: print(f"warning: {text}", file=sys.stderr),
        )
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    # The checkpoint of an epoch is written before its metrics are logged: a run with metrics has had one somewhere.
    if checkpoint is None and "val_loss" in run.data.metrics:
        raise ConfigError(
            f"resume is {config.resume!r}, which has finished epochs, and {store.folder.absolute()} has no checkpoint; "
            "valid: on the machine and in the folder in which it was cut off"
        )
    return checkpoint


def _check_data(run: Any, config: TrainConfig, data: DataIdentity) -> None:
    """Raise ConfigError if a run was trained on other data, as far as it says on which."""
    for tag, here in (("data_sha256", data.sha256), ("split_sha256", data.split_sha256)):
        there = run.data.tags.get(tag, here)
        if there != here:
            values = config.model_dump()
            field = "dataset" if is_own(values.get("dataset", "")) else "data_dir"
            place = f"{field} is {values[field]!r}, and its {tag}" if field in values else f"the {tag} of {data.name}"
            raise ConfigError(
                f"{place} is {here[:12]}..., that of run {config.resume} {there[:12]}...; valid: the data that the run "
                "was started with"
            )
