"""Resuming a run that was cut off: with which configuration, from which checkpoint, and how exactly."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout

from experiments.config import IMAGE_SIZE, RANDOM, ConfigError, RunUnavailableError, TrainConfig, is_own
from experiments.tracking.checkpoint import Checkpoint, CheckpointError
from experiments.tracking.store import checkpoint_store, resumable_run
from experiments.training import devices
from experiments.training.family import DataIdentity
from experiments.training.state import History, TrainState
from tasks.base import first_line
from tasks.runs import claim_file, open_store

# Settled by a trial unless they are given, with the value that leaves them open.
OPEN = {"precision": "auto", "memory_format": "auto", "threads": 0}
# May differ between a run and its continuation; every other field decides what is trained.
FREE_TO_CHANGE = {"device", "data_dir", "data", "resume", "register", "champion", *OPEN}

# Fields that came later: with these values a training is what it was before.
CAME_LATER = {"image_size": IMAGE_SIZE, "weights": RANDOM, "freeze_epochs": 0, "trunk_learning_rate": 1.0}

Config = TypeVar("Config", bound=TrainConfig)


def deciding(config: TrainConfig) -> dict[str, Any]:
    """The fields that decide what is trained, the same as before they came for those that came later."""
    values = config.model_dump().items()
    return {name: value for name, value in values if name not in FREE_TO_CHANGE and CAME_LATER.get(name) != value}


def resumed_config(config: Config, given: frozenset[str]) -> Config:
    """The configuration of the run that `config.resume` names, with what may change taken from `config`.

    Fields that were not given are the run's own. Raises ConfigError for a run that cannot be resumed, or when a given
    field contradicts it. Started by `mlflow run`, which always passes the declared defaults, a field counts as given
    only if it differs from its default.
    """
    _, written = resumable_run(config.resume)
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
    else:
        given |= set(OPEN)
    free = FREE_TO_CHANGE & (given | {"resume"}) & set(type(config).model_fields)
    return stored.replace(**{name: getattr(config, name) for name in free})


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


def restore(state: TrainState, checkpoint: Checkpoint, here: dict[str, Any]) -> None:
    """Put `state` where the checkpoint was, saying so, and saying if the continuation will not be bit-exact.

    Raises ConfigError if the checkpoint is of another network.
    """
    try:
        there = dict(checkpoint.values["environment"])
        state.restore(checkpoint.tensors, checkpoint.values)
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        text = f"the checkpoint of epoch {checkpoint.epoch} is of another network: {first_line(error)}"
        raise ConfigError(text) from error
    differences = [
        f"{key} {there.get(key)} -> {value}" for key, value in here.items() if there.get(key, value) != value
    ]
    if differences:
        print(f"warning: not bit-exact with an uninterrupted run: {', '.join(differences)}", file=sys.stderr)
    if state.accelerator.is_main_process:
        print(f"resuming after epoch {checkpoint.epoch}")
