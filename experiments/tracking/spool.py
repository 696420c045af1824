"""What a run could not tell its tracking server: kept on this machine's disk until the server is back, a folder a run.

`<spool>/<run id>/` holds `run.json` (which server), `files/` and `journal.jsonl`. The journal only grows: a JSON line
for each operation, with an id of its own, and a line for ids that were carried out. A line counts when it is whole.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from experiments.config import ConfigError, LeaveAloneError

SPOOL = Path("spool")
ABOUT, JOURNAL = "run.json", "journal.jsonl"
# What MLflow takes in one call.
MOST_METRICS, MOST_TAGS = 1000, 100

# What is to be done, under "do", and with what; plain values, as JSON has them.
Operation = dict[str, Any]


class Spool:
    """The spool of one run; nothing is on the disk before something has to wait.

    Attributes:
        waiting: the operations not yet carried out, oldest first, by id.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self.folder, self.run_id = folder.absolute() / run_id, run_id
        self.waiting: dict[str, Operation] = {}
        self._lock: BaseFileLock | None = None

    @property
    def exists(self) -> bool:
        return (self.folder / ABOUT).is_file()

    def server(self) -> str:
        """The address of its server, without a name or password. Raises ConfigError if that cannot be read."""
        try:
            return str(json.loads((self.folder / ABOUT).read_text())["tracking_uri"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.folder / ABOUT} is damaged; give the server's address as tracking_uri") from error

    def take(self) -> None:
        """Read what waits, and keep other processes out until `close`.

        Raises LeaveAloneError if another process has it, ConfigError if the journal was changed by something else.
        """
        if self._lock is not None:
            return
        lock = FileLock(self.folder / ".in-use")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LeaveAloneError(f"{self.folder} is in use by another process, which sends it itself") from error
        self._lock = lock
        self._read()

    def make(self, server: str) -> None:
        """Begin it, for a server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder.parent / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        self.take()
        if not self.exists:
            about = {"run_id": self.run_id, "tracking_uri": re.sub(r"//[^/@]*@", "//", server)}
            _write(self.folder / ABOUT, "w", json.dumps(about) + "\n")

    def add(self, operation: Operation, files: Path | None = None, copy: bool = True) -> None:
        """Keep an operation, and a file or folder that belongs to it; without `copy` only where that is."""
        name = uuid.uuid4().hex
        entry = {"id": name, **operation}
        if files is not None and not copy:
            entry["source"] = str(files.absolute())
        elif files is not None:
            target = self.folder / "files" / name
            target.mkdir(parents=True)
            if files.is_dir():
                shutil.copytree(files, target, dirs_exist_ok=True)
            else:
                shutil.copy2(files, target)
            for path in target.rglob("*"):
                _sync(path)
        self._append(entry)
        self.waiting[name] = entry

    def files(self, operation: Operation) -> Path:
        """The folder with the files of an operation."""
        return Path(operation.get("source") or self.folder / "files" / operation["id"])

    def done(self, names: Iterable[str]) -> None:
        """Note that operations were carried out."""
        names = list(names)
        self._append({"done": names})
        for name in names:
            del self.waiting[name]
            shutil.rmtree(self.folder / "files" / name, ignore_errors=True)

    def close(self) -> None:
        """Leave it to other processes; the folder goes when nothing waits."""
        if self._lock is None:
            return
        if not self.waiting:
            shutil.rmtree(self.folder)
        self._lock.release()
        self._lock = None

    def _append(self, entry: Operation) -> None:
        _write(self.folder / JOURNAL, "a", json.dumps(entry) + "\n")

    def _read(self) -> None:
        self.waiting.clear()
        path = self.folder / JOURNAL
        content = path.read_bytes() if path.exists() else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # the process or the machine ended in the middle of a line, which never counted
            os.truncate(path, whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                entry = json.loads(line)
                for name in entry.get("done", []):
                    self.waiting.pop(name)
                if "do" in entry:
                    self.waiting[entry["id"]] = entry
            except (ValueError, KeyError, AttributeError) as error:
                raise ConfigError(f"{path}, line {number}, is damaged; nothing of it was sent") from error


def spooled(folder: Path) -> list[str]:
    """The ids of the runs that have something waiting."""
    return sorted(path.parent.name for path in folder.glob(f"*/{ABOUT}"))


def together(waiting: Iterable[Operation]) -> Iterator[tuple[list[str], Operation]]:
    """The operations in their order, neighbouring batches as one call; with the ids that each stands for."""
    names: list[str] = []
    batch: Operation = {}
    for operation in waiting:
        if operation["do"] != "batch":
            if batch:
                yield names, batch
            yield [operation["id"]], operation
            names, batch = [], {}
            continue
        merged = {
            "do": "batch",
            "metrics": [*batch.get("metrics", []), *operation["metrics"]],
            "params": {**batch.get("params", {}), **operation["params"]},
            "tags": {**batch.get("tags", {}), **operation["tags"]},
        }
        full = len(merged["metrics"]) > MOST_METRICS or max(len(merged["params"]), len(merged["tags"])) > MOST_TAGS
        if batch and full:
            yield names, batch
            names, merged = [], operation
        names, batch = [*names, operation["id"]], merged
    if batch:
        yield names, batch


def _write(path: Path, mode: str, text: str) -> None:
    new = not path.exists()
    with path.open(mode) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if new:
        _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
