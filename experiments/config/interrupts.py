"""Signals that stop a program: the first one unwinds it, so that its runs end as KILLED; a second one ends it at once.

Ctrl-C, SIGTERM (`kill`, a scheduler, a container that stops) and SIGHUP (the terminal was closed). Only the standard
library is imported: programs install this before they load anything.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# `torchrun` and whoever signals a group of processes send one signal twice; a user takes longer to ask again. After
# Ctrl-C `mlflow run` sends SIGTERM, as soon as it gets to it.
SAME_SIGNAL_S, OTHER_SIGNAL_S = 1.0, 5.0
PARENT_POLL_S = 1.0
LAUNCHED = "MLFLOW_RUN_ID"  # the run that `mlflow run` made for this program, until the program has taken it over


class Stopped(KeyboardInterrupt):
    """A signal asks this program to end. Its notes say how to resume what it did."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


_launched: tuple[str, int] | None = None  # its id, and the process of `mlflow run`
_came: dict[int, float] = {}
_held = False
_waiting: Stopped | None = None


def install() -> None:
    """Have signals raise `Stopped` in the main thread; started by `mlflow run`, its end counts as SIGTERM."""
    global _launched
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)
    if LAUNCHED in os.environ:
        _launched = os.environ[LAUNCHED], os.getppid()
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True, name="watch-mlflow-run").start()


@contextmanager
def held() -> Iterator[None]:
    """Have a first signal wait while a run is begun or ended; it is raised after that, or within `allowed`."""
    yield from _holding(True)


@contextmanager
def allowed() -> Iterator[None]:
    """Let signals raise again, within `held`."""
    yield from _holding(False)


def _holding(value: bool) -> Iterator[None]:
    global _held
    before, _held = _held, value
    try:
        _raise_waiting()
        yield
    except Exception:
        _held = before
        _raise_waiting()  # an error that is dealt with further up must not keep the signal waiting
        raise
    finally:
        _held = before
    _raise_waiting()


def _raise_waiting() -> None:
    global _waiting
    if _waiting is not None and not _held:
        stopped, _waiting = _waiting, None
        raise stopped


def _stop(number: int, _: FrameType | None) -> None:
    global _waiting
    now, asked = time.monotonic(), bool(_came)
    first = min(_came.values(), default=now)
    if now - _came.setdefault(number, now) > SAME_SIGNAL_S or now - first > OTHER_SIGNAL_S:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if asked:
        return
    stopped = Stopped(number)
    if not _held:
        raise stopped
    _waiting = stopped


def _watch(parent: int) -> None:
    """MLflow's command line dies of SIGTERM without telling the program that it started."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    if not _came:  # else it is asked to end already, and this would count as a second signal
        # To the main thread itself: what it waits for ends at once.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def end_launched_run() -> None:
    """Have the run that `mlflow run` made end as KILLED, though MLflow calls it FAILED when this program has ended."""
    if _launched is None:
        return
    run_id, launcher = _launched
    taken_over = LAUNCHED not in os.environ
    if not taken_over or os.getppid() == launcher:
        # A process of its own, also because this one may have been stopped in the middle of loading MLflow.
        command = [sys.executable, "-m", "tasks.runs.last_word", run_id, str(launcher), "FAILED"]
        subprocess.Popen(
            [*command, *([] if taken_over else ["RUNNING"])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
