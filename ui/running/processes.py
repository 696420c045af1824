"""Programs of the project as processes that outlive the page, the browser and the tool's server. No Streamlit here.

Each has a folder under `.processes/` beside the tracking store. A file there has one writer: `process.json` is what was
started and `wrapper.json` by whom (`start`), `program.json` and `exit.json` are what became of it (the wrapper, its
parent, `ui/running/process_wrapper.py`), `stop` says that the user ended it (`stop`), and `log.txt` is what it printed.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from experiments.config import ConfigError
from tasks.runs import IMPATIENCE, sqlite_file
from ui.running.process_log import MOST_LINES, read_tail
from ui.running.process_wrapper import write
from ui.running.programs import PROJECT_ROOT, arguments, changed, problems, program, title

WRAPPER = Path(__file__).with_name("process_wrapper.py")
PLACES = 2  # processes that run at once; the others are queued
MOST_ACTIVE = 20  # that work or wait
TAG = "ui_process"  # of the MLflow runs that a process makes
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
CLOCK_SLACK_S = 10.0  # a process's start time is recorded with at most this error, on a busy machine

WAITING, RUNNING, FINISHED, FAILED, STOPPED = "waiting", "running", "finished", "failed", "stopped"
ACTIVE = (WAITING, RUNNING)


class ProcessError(Exception):
    """What was asked of a process cannot be. The text says why."""


@dataclass(frozen=True)
class Process:
    """A program that was started, and how it is now.

    Attributes:
        values: the parameters that differed from their defaults, as texts.
        state: waiting, running, finished, failed or stopped.
        started, began, ended: seconds since 1970: asked for, at work, over; None: not yet, or not known.
        code: its exit code, where it left one.
        stopping: the user asked it to end and it has not yet.
    """

    id: str
    entry: str
    values: Mapping[str, str]
    command: tuple[str, ...]
    pid: int
    state: str
    started: float
    began: float | None
    ended: float | None
    code: int | None
    stopping: bool

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def title(self) -> str:
        """What is being made, in a line."""
        return title(self.entry, self.values)


def start(entry: str, values: Mapping[str, str], private: Mapping[str, str] | None = None) -> Process:
    """Start an entry point with values (texts, as on the command line; defaults for those left out).

    Args: private: more variables for its environment, such as HF_TOKEN; they are written nowhere.

    It works as soon as one of the places is free. Raises ConfigError for an unknown entry point and for what is wrong
    with the values, ProcessError if too many wait already or the system refuses.
    """
    chosen = program(entry)
    wrong = problems(chosen, values)
    if wrong:
        raise ConfigError(next(iter(wrong.values())))
    if sum(process.active for process in processes()) >= MOST_ACTIVE:
        raise ProcessError(f"{MOST_ACTIVE} programs are running or queued already; stop one, or wait for one to end")
    given = changed(chosen, values)
    identifier = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    folder = home() / identifier
    try:
        folder.mkdir(parents=True)
        content = {
            "entry": entry,
            "values": given,
            "command": [sys.executable, "-m", chosen.module, *arguments(given)],
            "places": PLACES,
            "started": time.time(),
        }
        write(folder / "process.json", content)
        _launch(folder, identifier, private or {})
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ProcessError(f"{entry} cannot be started: {error.strerror or error}") from error
    return find(identifier)


def _launch(folder: Path, identifier: str, more: Mapping[str, str]) -> None:
    """Start the wrapper, in a session of its own: nothing that ends the server ends it."""
    wrapper = subprocess.Popen(
        [sys.executable, "-I", str(WRAPPER), str(folder.absolute())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # The tool's own folder, so that a relative store, artifacts and data sets are where the tool sees them.
        cwd=Path.cwd(),
        env={**_environment(identifier), **more},
        start_new_session=True,
    )
    try:
        began = psutil.Process(wrapper.pid).create_time()
    except psutil.Error:
        began = time.time()
    write(folder / "wrapper.json", {"pid": wrapper.pid, "began": began})
    # Waited for, or it would stay in the table of processes as a zombie while the server lives.
    threading.Thread(target=wrapper.wait, daemon=True, name=f"reap-{identifier}").start()


def _environment(identifier: str) -> dict[str, str]:
    """The tool's environment, made fit for a program that works for hours."""
    environment = dict(os.environ)
    for name, value in IMPATIENCE.items():  # is for pages; a training should outlast a restart of its server
        if environment.get(name) == value:
            del environment[name]
    environment.pop("MLFLOW_RUN_ID", None)
    paths = [str(PROJECT_ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["PYTHONUNBUFFERED"] = "1"
    # MLflow puts these tags on every run that the program makes.
    environment["MLFLOW_RUN_CONTEXT"] = json.dumps({TAG: identifier})
    return environment


def home() -> Path:
    """The folder of all processes: beside a store on this machine, else in the tool's own folder."""
    file = sqlite_file(os.environ.get("MLFLOW_TRACKING_URI", ""))
    return (file.parent if file else Path()).absolute() / ".processes"


def processes() -> list[Process]:
    """All processes, newest first."""
    folders = [path for path in home().glob("*") if ID.fullmatch(path.name)] if home().is_dir() else []
    found = [process for folder in folders if (process := _read(folder))]
    return sorted(found, key=lambda process: process.started, reverse=True)


def find(identifier: str) -> Process:
    """A process by its id. Raises ProcessError if there is none."""
    process = _read(_folder(identifier))
    if process is None:
        raise ProcessError(f"there is no process {identifier}")
    return process


def stop(identifier: str) -> Process:
    """End a process, gently first; of one that has ended nothing changes. Returns at once: it may take 20 s to end."""
    process = find(identifier)
    if process.active and not process.stopping:
        folder = _folder(identifier)
        (folder / "stop").touch()
        wrapper, worker = _json(folder / "wrapper.json"), _json(folder / "program.json")
        if _alive(wrapper):
            _signal(wrapper["pid"], signal.SIGTERM, group=False)
        elif _alive(worker):  # the wrapper was killed
            _signal(worker["pid"], signal.SIGINT, group=True)
    return find(identifier)


def forget(identifier: str) -> None:
    """Remove a process that has ended from the list, with its log; its MLflow runs stay. Raises ProcessError."""
    if find(identifier).active:
        raise ProcessError(f"process {identifier} is at work; stop it first")
    shutil.rmtree(_folder(identifier), ignore_errors=True)


def log_tail(identifier: str, lines: int = MOST_LINES) -> str:
    """The last lines of what a process printed: bounded, and without codes for a terminal."""
    return read_tail(_folder(identifier) / "log.txt", lines)


def _folder(identifier: str) -> Path:
    """The folder of an id. Raises ProcessError for what is none of ours, such as a path."""
    if not ID.fullmatch(identifier):
        raise ProcessError(f"there is no process {identifier[:60]!r}")
    return home() / identifier


def _read(folder: Path) -> Process | None:
    """The process of a folder as it is now; None for a folder that holds none."""
    given = _json(folder / "process.json")
    if not isinstance(given.get("entry"), str) or not isinstance(given.get("values"), dict):
        return None
    wrapper, worker, end = (_json(folder / f"{name}.json") for name in ("wrapper", "program", "exit"))
    asked = (folder / "stop").exists()
    alive = not end and (_alive(wrapper) or _alive(worker))
    if not alive and not end:  # it may have ended between the two lines above
        end = _json(folder / "exit.json")
    if alive:
        state = RUNNING if worker else WAITING
    elif not end and not wrapper and time.time() - (_number(given.get("started")) or 0.0) < CLOCK_SLACK_S:
        state = WAITING  # seen while it is being started
    elif end.get("code") == 0:
        state = FINISHED
    else:
        state = STOPPED if asked or end.get("stopped") else FAILED
    return Process(
        id=folder.name,
        entry=given["entry"],
        values={str(name): str(text) for name, text in given["values"].items()},
        command=tuple(map(str, given.get("command", ()))),
        pid=worker.get("pid") or wrapper.get("pid") or 0,
        state=state,
        started=_number(given.get("started")) or 0.0,
        began=_number(worker.get("began")),
        ended=_number(end.get("ended")),
        code=end.get("code"),
        stopping=alive and asked,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _alive(noted: Mapping[str, Any]) -> bool:
    """Whether a process that was noted still lives; another one that was given its number later is not it."""
    try:
        process = psutil.Process(noted["pid"])
        same = abs(process.create_time() - noted["began"]) <= CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
        return False


def _signal(pid: int, number: int, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return  # it has just ended
