"""Sees one program through to its end and writes down how it ended: `python process_wrapper.py FOLDER`.

It is started by `ui.running.processes`, and outlives the server of the tool. It waits until one of the places is free
(which limit how many programs run at once), then runs the command of FOLDER/process.json with its output in
FOLDER/log.txt. SIGTERM stops what it runs, as Ctrl-C would first, so that the program can end its MLflow run. Only the
standard library is imported: it stays small.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

PATIENCE_S = {signal.SIGINT: 20.0, signal.SIGTERM: 5.0, signal.SIGKILL: 5.0}
POLL_S = 0.3


class StopAskedError(Exception):
    """SIGTERM came."""


class Switch:
    """Turns SIGTERM into `StopAskedError`, but only while armed: else a program could be started and forgotten."""

    def __init__(self) -> None:
        self.pressed = self._armed = False
        signal.signal(signal.SIGTERM, self._press)
        # Handlers, not "ignore", which the program would inherit and then not hear Ctrl-C either.
        signal.signal(signal.SIGINT, self._press)
        signal.signal(signal.SIGHUP, lambda *_: None)

    def arm(self) -> None:
        self._armed = True
        if self.pressed:
            self.disarm()
            raise StopAskedError

    def disarm(self) -> None:
        self._armed = False

    def _press(self, *_: object) -> None:
        self.pressed = True
        if self._armed:
            self.disarm()
            raise StopAskedError


def main(folder: Path) -> None:
    """Wait, run, write down."""
    switch = Switch()
    program: subprocess.Popen[bytes] | None = None
    code = None
    try:
        given = json.loads((folder / "process.json").read_text())
        switch.arm()
        place = _place(folder.parent, given["places"])
        switch.disarm()
        with (folder / "log.txt").open("ab") as log:
            program = subprocess.Popen(
                given["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        write(folder / "program.json", {"pid": program.pid, "began": time.time()})
        switch.arm()
        code = program.wait()
        switch.disarm()
        place.close()
    except StopAskedError:
        code = _end(program) if program else None
    except OSError as error:  # the command cannot be run, or the disk is full
        code = _end(program) if program else 127
        with contextlib.suppress(OSError), (folder / "log.txt").open("a") as log:
            log.write(f"error: {error}\n")
    write(folder / "exit.json", {"code": code, "stopped": switch.pressed, "ended": time.time()})


def _place(home: Path, places: int) -> IO[str]:
    """Wait for one of the places and take it: a lock that ends with this process, however that ends."""
    with (home / "turn.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # those who wait are let on about in the order in which they came
        while True:
            for number in range(places):
                file = (home / f"place-{number}.lock").open("w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return file
                except BlockingIOError:
                    file.close()
            time.sleep(POLL_S)


def _end(program: subprocess.Popen[bytes]) -> int | None:
    """End a program and all that it started: ask as Ctrl-C does, then more firmly."""
    for number, seconds in PATIENCE_S.items():
        try:
            os.killpg(program.pid, number)
            return program.wait(seconds)
        except ProcessLookupError:
            return program.wait()
        except subprocess.TimeoutExpired:
            continue
    return None


def write(path: Path, content: dict[str, object]) -> None:
    """Write a file in one step: who reads it finds all or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
