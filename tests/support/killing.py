"""Train in a process of its own and have it killed at a chosen moment.

A fork server that has loaded the libraries once starts each process in a fraction of a second.
"""

import importlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path


def train_and_die(where: str, epoch: int, arguments: list[str], family: str = "cnn") -> int | None:
    """Run `train_cnn` or `train_seq2seq` until the moment `where` of `epoch`; returns the process's exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.cnn.training", "mlflow", "sklearn.metrics", "matplotlib.figure"])
    process = context.Process(target=_train, args=(where, epoch, arguments, family, dict(os.environ), str(Path.cwd())))
    process.start()
    process.join(timeout=120)
    return process.exitcode


def _train(where: str, epoch: int, arguments: list[str], family: str, environment: dict[str, str], folder: str) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    with open(os.devnull, "w") as silence:  # noqa: PTH123
        sys.stdout = sys.stderr = silence
        program = importlib.import_module(f"experiments.train_{family}")
        _arm(where, epoch, family)
        program.main(arguments)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(where: str, epoch: int, family: str) -> None:
    """Replace what happens at the chosen moment by the end of this process."""
    from experiments.tracking.run import Tracker
    from experiments.training import run as training

    log_epoch = Tracker.log_epoch
    if where == "in an epoch":
        setup = importlib.import_module(f"experiments.{family}.setup")
        name = {"cnn": "classification_step", "seq2seq": "reversal_step"}[family]
        setattr(setup, name, _dying_step(getattr(setup, name), batch=4 * (epoch - 1) + 3))
    elif where == "before logging":
        Tracker.log_epoch = lambda self, n, metrics: _die() if n == epoch else log_epoch(self, n, metrics)
    elif where == "after logging":
        Tracker.log_epoch = lambda self, n, metrics: (log_epoch(self, n, metrics), _die() if n == epoch else None)
    elif where == "while testing":
        training.finish = _die
    else:
        raise ValueError(where)


def _dying_step(step, batch: int):
    """A step that works until the given batch, counted from 1 over all epochs."""
    calls = iter(range(1, 1_000_000))

    def step_or_die(*arguments):
        if next(calls) == batch:
            _die()
        return step(*arguments)

    return step_or_die
