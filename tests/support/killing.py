"""Run a program in a process of its own and have it get a signal, SIGKILL or another, at a chosen moment.

A fork server that has loaded the libraries once starts each process in a fraction of a second.
"""

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from pathlib import Path
from unittest import mock

from experiments.config import cli
from tests.conftest import PROJECT_ROOT

LOG = "program.log"


def train_and_die(
    where: str, epoch: int, arguments: list[str], program: str = "train_cnn", number: int = signal.SIGKILL
) -> int | None:
    """Run a program until the moment `where` of `epoch`, and send it the signal; returns the process's exit code.

    What it printed is in the file LOG of the working directory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.cnn.report", "mlflow", "sklearn.metrics", "matplotlib.figure"])
    given = (where, epoch, arguments, program, number, dict(os.environ), str(Path.cwd()))
    process = context.Process(target=_train, args=given)
    # Else server, which imports from where it is started, and process may find other packages of these names: models
    # that MLflow loaded in earlier tests leave the folders of their code, which is parts of this project, in the path.
    with contextlib.chdir(PROJECT_ROOT), mock.patch.object(sys, "path", [str(PROJECT_ROOT), *sys.path]):
        process.start()
    process.join(timeout=120)
    return process.exitcode


def _train(
    where: str, epoch: int, arguments: list[str], program: str, number: int, environment: dict[str, str], folder: str
) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    with Path(LOG).open("w") as log:
        sys.stdout = sys.stderr = log
        try:
            _arm(where, epoch, program, number)
            cli.run(lambda: importlib.import_module(f"experiments.{program}").main(arguments))
        except Exception:  # while the log is open: what ends the process afterwards has nowhere to be written
            traceback.print_exc()
            raise


def _arm(where: str, epoch: int, program: str, number: int) -> None:
    """Have the signal come at the chosen moment."""
    import mlflow

    from experiments.tracking.run import Tracker
    from experiments.training import run as training

    def die(*_: object) -> None:
        os.kill(os.getpid(), number)

    log_epoch, set_terminated = Tracker.log_epoch, mlflow.MlflowClient.set_terminated
    if where == "in an epoch":
        setup, name = {
            "train_cnn": ("experiments.cnn.setup", "classification_step"),
            "train_seq2seq": ("experiments.seq2seq.setup", "reversal_step"),
        }[program]
        module = importlib.import_module(setup)
        setattr(module, name, _dying_step(getattr(module, name), 4 * (epoch - 1) + 3, die))
    elif where == "before it begins":
        Tracker.start = die
    elif where == "before logging":
        Tracker.log_epoch = lambda self, n, metrics: die() if n == epoch else log_epoch(self, n, metrics)
    elif where == "after logging":
        Tracker.log_epoch = lambda self, n, metrics: (log_epoch(self, n, metrics), die() if n == epoch else None)
    elif where == "while testing":
        training.finish = die
    elif where == "while ending":
        # A run that a model is being logged to is active for that time, and ends it as RUNNING.
        mlflow.MlflowClient.set_terminated = lambda *given: ("RUNNING" in given or die(), set_terminated(*given))
    else:
        raise ValueError(where)


def _dying_step(step, batch: int, die):
    """A step that works until the given batch, counted from 1 over all epochs."""
    calls = iter(range(1, 1_000_000))

    def step_or_die(*arguments):
        if next(calls) == batch:
            die()
        return step(*arguments)

    return step_or_die
