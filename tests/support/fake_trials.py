"""Stand-ins for the trainings of a study: curves in no time, and processes that work on a study and can be killed."""

import importlib
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from mlflow.entities import Run

from experiments.tracking.run import Tracker
from experiments.training.state import Metrics
from experiments.tuning.storage import storage_url
from tests.support.runs import children

STUDY = "cnn-lenet5-digits"
# Arguments of the smallest studies: with trainings, and with stand-ins for them.
TINY = ["--epochs", "2", "--train_size", "200", "--threads", "1"]
FAKE = [*TINY, "--epochs", "4", "--seeds", "0"]
GRACE = 5  # seconds without a sign of life until a worker of a test counts as dead
Watch = Callable[[int, Metrics], bool]


def quality(config: Any) -> float:
    """Validation accuracy that a stand-in reaches in the end: highest for a learning rate of 0.01."""
    return 0.99 - abs(math.log10(config.learning_rate) + 2) / 5


def fake_try_out(family: Any, config: Any, tracker: Tracker, name: str, watch: Watch) -> tuple[int, Metrics]:
    """As `experiments.training.run.try_out`, with epochs that train nothing."""
    tracker.start(name, "a stand-in", config.model_dump(), {"model": config.model})
    epoch, metrics = 0, Metrics()
    for epoch in range(1, config.epochs + 1):
        accuracy = quality(config) * (1 - 0.5**epoch)
        metrics = {"train_loss": 1 - accuracy, "val_loss": 1 - accuracy, "val_accuracy": accuracy}
        tracker.log_epoch(epoch, metrics)
        if watch(epoch, metrics):
            break
    return epoch, metrics


def trial_runs(parent: str) -> dict[int, Run]:
    """The runs of trials by number; each has one."""
    found = [run for run in children(parent) if "trial" in run.data.tags]
    numbers = {int(run.data.tags["trial"]): run for run in found}
    assert len(numbers) == len(found)
    return numbers


def load_study(storage: str = "auto", name: str = STUDY) -> optuna.Study:
    """A study as Optuna has it; `auto` is the default storage in the working directory."""
    return optuna.load_study(study_name=name, storage=storage_url(storage, name, Path()).render_as_string(False))


def let_heartbeats_age(storage: str = "auto") -> None:
    """Have every running trial look as if its worker had been silent for long."""
    with sqlalchemy.create_engine(storage_url(storage, STUDY, Path())).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'"))


CONTEXT = multiprocessing.get_context("forkserver")


def start_worker(
    arguments: list[str],
    *,
    dies_in: tuple[int, int] = (-1, -1),
    where: str = "in an epoch",
    together: Barrier | None = None,
) -> ForkServerProcess:
    """A process that runs `tune` with stand-ins, and is killed in its n-th trial (from 1) and epoch, or elsewhere.

    It begins when all of `together` are ready, and its first trial continues when each of them has begun one: on a busy
    machine one would otherwise find every trial taken.
    """
    CONTEXT.set_forkserver_preload(["experiments.tuning.run", "experiments.cnn.report", "matplotlib.figure"])
    barrier = together or CONTEXT.Barrier(1)
    process = CONTEXT.Process(
        target=_work, args=(arguments, dies_in, where, barrier, dict(os.environ), str(Path.cwd()))
    )
    process.start()
    vars(process)["barrier"] = barrier  # else it may be gone before the process has opened it
    return process


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _work(
    arguments: list[str],
    dies_in: tuple[int, int],
    where: str,
    together: Barrier,
    environment: dict[str, str],
    folder: str,
) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdout = sys.stderr = Path(f"worker-{os.getpid()}.log").open("w")  # noqa: SIM115
    program = importlib.import_module("experiments.tune")
    trial = importlib.import_module("experiments.tuning.trial")
    storage = importlib.import_module("experiments.tuning.storage")
    setattr(storage, "HEARTBEAT", 1)  # noqa: B010
    setattr(storage, "GRACE", GRACE)  # noqa: B010
    trials = 0

    def try_out(family: Any, config: Any, tracker: Tracker, name: str, watch: Watch) -> tuple[int, Metrics]:
        nonlocal trials
        trials += 1
        mine = trials
        if mine == 1:
            together.wait(60)

        def watch_or_die(epoch: int, metrics: Metrics) -> bool:
            if (mine, epoch) == dies_in and where == "in an epoch":
                _die()
            return watch(epoch, metrics)

        return fake_try_out(family, config, tracker, name, watch_or_die)

    setattr(trial, "try_out", try_out)  # noqa: B010
    if where != "in an epoch":
        _arm(where, dies_in[0])
    together.wait(60)
    program.main(arguments)


def _arm(where: str, number: int) -> None:
    """Have the process killed when it draws the settings of its trial of this number (from 1), or is done with it."""
    from experiments.tuning import trial

    owner, name = {"drawing settings": (trial, "make_sampler"), "before telling": (trial.TrialWorker, "_train")}[where]
    original = getattr(owner, name)
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments)
        if calls == number:
            _die()
        return result

    setattr(owner, name, call)
