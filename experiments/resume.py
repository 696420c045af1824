"""Going on with a run that was cut off: with which configuration, from which checkpoint, and how exactly."""

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from filelock import BaseFileLock, FileLock, Timeout

from experiments.checkpoint import Checkpoint, CheckpointError
from experiments.config import ConfigError, TrainConfig
from experiments.state import History, TrainState
from experiments.tracking import checkpoint_store, resumable_run
from tasks.runs import open_store

# May differ between a run and its continuation; every other field decides what is trained.
FREE_TO_CHANGE = {"device", "precision", "threads", "data_dir", "resume", "register"}

Config = TypeVar("Config", bound=TrainConfig)


def resumed_config(config: Config, given: frozenset[str]) -> Config:
    """The configuration of the run that `config.resume` names, with what may change taken from `config`.

    Fields that were not given are the run's own. Raises ConfigError for a run that cannot be gone on with, or when a
    given field contradicts it. Started by `mlflow run`, which always passes the declared defaults, a field counts as
    given only if it differs from its default.
    """
    _, stored = resumable_run(config.resume)
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    if set(stored) != set(defaults):
        raise ConfigError(f"resume is {config.resume!r}, and that run is not one of this entry point and version")
    if "MLFLOW_RUN_ID" in os.environ:
        given = frozenset(name for name in given if getattr(config, name) != defaults[name])
    for name in sorted(given - FREE_TO_CHANGE):
        if getattr(config, name) != stored[name]:
            raise ConfigError(
                f"{name} is {getattr(config, name)!r}, and run {config.resume} was started with {stored[name]!r}; "
                f"leave {name} out, or start a new run"
            )
    changed = {name: getattr(config, name) for name in FREE_TO_CHANGE & (given | {"resume"})}
    return dataclasses.replace(config, **{**stored, **changed})


def claim(run_id: str) -> BaseFileLock:
    """Keep other processes from going on with the same run; released when this process ends, however it ends.

    Raises ConfigError if another process has the run.
    """
    store = checkpoint_store(open_store().get_run(run_id))
    store.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store.folder / ".in-use")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"run {run_id} is being trained by another process; wait for it or stop it first") from error
    return lock


def find_checkpoint(run_id: str, best_epoch: Callable[[History], int]) -> Checkpoint | None:
    """The newest usable checkpoint of a run, None if it was cut off before its first.

    Damaged ones are named on stderr. Raises ConfigError if none is usable.
    """
    run, _ = resumable_run(run_id)
    try:
        return checkpoint_store(run).load_newest(
            needs=lambda checkpoint: best_epoch(checkpoint.values["history"]),
            warn=lambda text: print(f"warning: {text}", file=sys.stderr),
        )
    except CheckpointError as error:
        raise ConfigError(str(error)) from error


def restore(state: TrainState, checkpoint: Checkpoint, here: dict[str, Any]) -> None:
    """Put `state` where the checkpoint was, saying so, and saying if the continuation will not be bit-exact.

    Raises ConfigError if the checkpoint is of another network.
    """
    try:
        state.restore(checkpoint.tensors, checkpoint.values)
    except (RuntimeError, KeyError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"the checkpoint of epoch {checkpoint.epoch} is of another network: {first_line}") from error
    there = checkpoint.values["environment"]
    differences = [f"{key} {there.get(key)} -> {value}" for key, value in here.items() if there.get(key) != value]
    if differences:
        print(f"warning: not bit-exact with an uninterrupted run: {', '.join(differences)}", file=sys.stderr)
    if state.accelerator.is_main_process:
        print(f"going on after epoch {checkpoint.epoch}")
