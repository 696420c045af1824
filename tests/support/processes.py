"""Programs as processes of the tool, made up: nothing runs."""

import json
import time
from pathlib import Path

import psutil

from ui.running.processes import Process

ID = "20260101-120000-0123abcd"


def a_process(state: str = "running", entry: str = "cnn", **others: object) -> Process:
    """As the tool lists one."""
    given = {"id": ID, "values": {}, "command": (), "pid": 1, "started": 1.0, "began": 2.0, "ended": None, "code": None}
    return Process(**{**given, "stopping": False, "entry": entry, "state": state, **others})  # type: ignore[arg-type]


def noted(folder: Path, identifier: str = ID, code: int | None = 0, entry: str = "cnn", log: str = "", **values: str):
    """The folder of a process that has ended, or (code None) one that is alive: this test's own."""
    place = folder / ".processes" / identifier
    place.mkdir(parents=True)
    given = {"entry": entry, "values": values, "command": [], "started": time.time() - 60}
    me = {"pid": psutil.Process().pid, "began": psutil.Process().create_time()}
    ended = {"code": code, "stopped": False, "ended": time.time()}
    last = ("program", me) if code is None else ("exit", ended)
    for name, content in (("process", given), ("wrapper", me), last):
        (place / f"{name}.json").write_text(json.dumps(content))
    (place / "log.txt").write_text(log)
    return place
