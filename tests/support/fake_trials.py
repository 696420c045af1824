"""Stand-ins for the trainings of a study: curves in no time, and processes that work on a study and can be killed."""

import dataclasses
import importlib
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from experiments.tracking.run import Tracker
from experiments.training.state import Metrics

Watch = Callable[[int, Metrics], bool]


def quality(config: Any) -> float:
    """Validation accuracy that a stand-in reaches in the end: highest for a learning rate of 0.01."""
    return 0.99 - abs(math.log10(config.learning_rate) + 2) / 5


def fake_try_out(
    family: Any, config: Any, tracker: Tracker, name: str, watch: Watch, seconds: float = 0.0
) -> tuple[int, Metrics]:
    """As `experiments.training.run.try_out`, with an epoch of `seconds` that trains nothing."""
    tracker.start(name, "a stand-in", dataclasses.asdict(config), {"model": config.model})
    metrics: Metrics = {}
    for epoch in range(1, config.epochs + 1):
        time.sleep(seconds)
        accuracy = quality(config) * (1 - 0.5**epoch)
        metrics = {"train_loss": 1 - accuracy, "val_loss": 1 - accuracy, "val_accuracy": accuracy}
        tracker.log_epoch(epoch, metrics)
        if watch(epoch, metrics):
            break
    return epoch, metrics


def start_worker(arguments: list[str], *, dies_in: tuple[int, int] = (-1, -1), where: str = "in an epoch",
                 seconds: float = 0.0, together: int = 1) -> ForkServerProcess:  # fmt: skip
    """A process that runs `tune` with stand-ins, and is killed in its n-th trial (from 1) and epoch, or elsewhere.

    It begins when `together` such processes are ready, and its first trial goes on when each of them has begun one:
    on a busy machine one would otherwise find every trial taken.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.tuning.run", "experiments.cnn.training", "matplotlib.figure"])
    values = (arguments, dies_in, where, seconds, together, dict(os.environ), str(Path.cwd()))
    process = context.Process(target=_work, args=values)
    process.start()
    return process


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _work(
    arguments: list[str], dies_in: tuple[int, int], where: str, seconds: float, together: int,
    environment: dict[str, str], folder: str,
) -> None:  # fmt: skip
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdout = sys.stderr = Path(f"worker-{os.getpid()}.log").open("w")  # noqa: SIM115
    program = importlib.import_module("experiments.tune")
    trial = importlib.import_module("experiments.tuning.trial")
    database = importlib.import_module("experiments.tuning.database")
    setattr(database, "HEARTBEAT", 1)  # noqa: B010
    setattr(database, "SILENCE", 2)  # noqa: B010
    trials = 0

    def try_out(family: Any, config: Any, tracker: Tracker, name: str, watch: Watch) -> tuple[int, Metrics]:
        nonlocal trials
        trials += 1
        mine = trials
        if mine == 1:
            _meet("begun", together)

        def watch_or_die(epoch: int, metrics: Metrics) -> bool:
            if (mine, epoch) == dies_in and where == "in an epoch":
                _die()
            return watch(epoch, metrics)

        return fake_try_out(family, config, tracker, name, watch_or_die, seconds)

    setattr(trial, "try_out", try_out)  # noqa: B010
    if where != "in an epoch":
        _arm(where, dies_in[0])
    _meet("ready", together)
    program.main(arguments)


def _meet(where: str, together: int) -> None:
    """Wait for the other processes of this working directory to come here, a minute at most."""
    Path(f"{where}-{os.getpid()}").touch()
    end = time.monotonic() + 60
    while len(list(Path().glob(f"{where}-*"))) < together:
        if time.monotonic() > end:
            raise TimeoutError(f"{together} workers should be {where}")
        time.sleep(0.01)


def _arm(where: str, number: int) -> None:
    """Have the process killed when it is about to claim, or has told, its trial of this number, counted from 1."""
    from experiments.tuning import trial as trials
    from experiments.tuning.storage import StudyStorage

    calls = {"claim": 0, "log": 0}

    def once(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            if calls[name] == number:
                _die()
            return original(*arguments)

        return call

    if where == "taking a trial":
        setattr(StudyStorage, "claim", once("claim", StudyStorage.claim))  # noqa: B010
    elif where == "after telling":
        setattr(trials, "_log", once("log", trials._log))  # noqa: B010
    else:
        raise ValueError(where)
