"""Checkpoints that are whole or not there: written aside, synced, renamed, and hashed.

One folder per kept epoch, `epoch-0007/`, with safetensors files, `state.json` and `manifest.json`, which holds the
SHA-256 of each of the others. No pickle anywhere. Kept are the last two epochs and the best epoch as of each of them,
so that when the newest is damaged the one before it can take its place with nothing missing.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from experiments.config import UserError
from tasks.json_files import parse_json

STATE, MANIFEST, SUFFIX = "state.json", "manifest.json", ".safetensors"
FOREIGN = "is damaged or not a checkpoint of this program"


class CheckpointError(UserError):
    """A checkpoint cannot be written, or none can be read."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved after an epoch: tensors by file name (without suffix), and values from `state.json`."""

    epoch: int
    tensors: dict[str, dict[str, torch.Tensor]]
    values: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run, in one folder on a local disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def epochs(self) -> list[int]:
        """The epochs that have a checkpoint, damaged or not, oldest first."""
        names = (path.name.removeprefix("epoch-") for path in self.folder.glob("epoch-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}"

    def save(self, epoch: int, tensors: dict[str, dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        """Write the checkpoint of `epoch`; it appears under its name only when all of it is on the disk.

        Raises CheckpointError when it cannot be written (no space, no permission); earlier checkpoints stay.
        """
        aside = self.folder / f".writing-{os.getpid()}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            files = {f"{name}{SUFFIX}": _serialize(part) for name, part in tensors.items()}
            files[STATE] = json.dumps(values, indent=1).encode()
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            files[MANIFEST] = json.dumps({"epoch": epoch, "sha256": hashes}, indent=1).encode()
            for name, content in files.items():
                _write_synced(aside / name, content)
            self._remove(epoch)  # a damaged one of the same epoch, when a resumed run comes by again
            aside.rename(self.path(epoch))
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            kept = self.epochs()
            last = f"the last good one, {self.path(kept[-1])}, is kept" if kept else "there is none before it"
            raise CheckpointError(
                f"the checkpoint of epoch {epoch} cannot be written to {self.folder} ({error.strerror}); {last}"
            ) from error

    def load(self, epoch: int) -> Checkpoint:
        """Read and verify one checkpoint. Raises CheckpointError, naming the file, if it is damaged or missing."""
        contents = self._verified(epoch)
        name = STATE  # the file that is read, for the error
        try:
            values = dict(parse_json(contents.pop(STATE)))
            tensors = {}
            for name, content in contents.items():
                tensors[name.removesuffix(SUFFIX)] = safetensors.torch.load(content)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise CheckpointError(f"{self.path(epoch) / name} {FOREIGN}") from error
        return Checkpoint(epoch, tensors, values)

    def _verified(self, epoch: int) -> dict[str, bytes]:
        """The files of a checkpoint by name, each of which has the hash that the manifest says."""
        folder = self.path(epoch)
        try:
            manifest = parse_json((folder / MANIFEST).read_bytes())
            hashes = dict(manifest["sha256"])
            if manifest["epoch"] != epoch or STATE not in hashes or not all(map(_is_own, hashes)):
                raise ValueError("it is of another epoch, or names other files")
            contents = {name: (folder / name).read_bytes() for name in hashes}
        except FileNotFoundError as error:
            raise CheckpointError(f"{error.filename} is missing") from error
        except OSError as error:
            raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder / MANIFEST} {FOREIGN}") from error
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != hashes[name]:
                raise CheckpointError(f"{folder / name} is damaged: its SHA-256 does not match")
        return contents

    def load_newest(self, needs: Callable[[Checkpoint], int], warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole and whose best epoch, told by `needs`, is whole too.

        Damaged ones are named through `warn` and passed over. None when there is no checkpoint at all.
        Raises CheckpointError when there are some and none can be used.
        """
        for epoch in reversed(self.epochs()):
            try:
                checkpoint = self.load(epoch)
                best = self._best(checkpoint, needs)
                if best != epoch:
                    self.load(best)
                return checkpoint
            except CheckpointError as error:
                warn(f"epoch {epoch} cannot be used: {error}")
        if self.epochs():
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be used; a new run with the same parameters gives the same result"
            )
        return None

    def _best(self, checkpoint: Checkpoint, needs: Callable[[Checkpoint], int]) -> int:
        try:
            return needs(checkpoint)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            path = self.path(checkpoint.epoch) / STATE
            raise CheckpointError(f"{path} {FOREIGN}") from error

    def prune(self, keep: Iterable[int]) -> None:
        """Remove the checkpoints of all other epochs, and what a killed process left half-written."""
        keep = set(keep)
        for epoch in self.epochs():
            if epoch not in keep:
                self._remove(epoch)
        for leftover in self.folder.glob(".*ing-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _remove(self, epoch: int) -> None:
        """Rename first, so that a half-removed folder is never taken for a checkpoint."""
        path = self.path(epoch)
        if path.exists():
            doomed = self.folder / f".removing-{epoch}"
            shutil.rmtree(doomed, ignore_errors=True)
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def _is_own(name: str) -> bool:
    """Whether a checkpoint of this program has a file of that name; none of them leads to another folder."""
    return name == STATE or (name.endswith(SUFFIX) and not re.search(r"[/\\\0]", name))


def _serialize(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
