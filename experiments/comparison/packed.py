"""One finished training as a zip file: what is put into it, and what makes it one of a grid."""

import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell, FinishedRun
from experiments.tracking.recorder import FILES, MODEL, RECORD, Record

# Of one training, as it is and unpacked, and its files: what has more is none of this program.
PACKED_BYTES, UNPACKED_BYTES, MOST_FILES = 2**25, 2**28, 1000
OPTIONAL = "reports/test_mistakes.npz"


class Packed(NamedTuple):
    """A finished training: its record, and the file that it is in."""

    record: Record
    file: Path

    def left_behind(self) -> FinishedRun:
        """What a report reads."""
        record = self.record

        def history(key: str) -> list[float]:
            return [metrics[key] for metrics in record.epochs if key in metrics]

        metrics = {**record.epochs[-1], **record.test}
        return FinishedRun(self.file.stem, record.params, record.tags, metrics, history, self._artifact)

    @contextmanager
    def _artifact(self, name: str) -> Iterator[Path]:
        with self.unpacked() as folder:
            yield folder / FILES / name

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A folder with all that is in the file."""
        with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(self.file) as archive:
            archive.extractall(temporary)
            yield Path(temporary)


def parts(folder: Path) -> Iterator[tuple[bool, list[Path]]]:
    """The files of a training by their worth, and whether they are needed; those of a part stay together."""
    files = sorted(path for path in (folder / FILES).rglob("*") if path.is_file())
    numbers = [path for path in files if path.suffix in (".json", ".npz") and not path.match(OPTIONAL)]
    yield True, [folder / RECORD, *numbers]
    pictures = [path for path in files if path not in numbers]
    for path in sorted(pictures, key=lambda path: (path.suffix != ".png", path.stat().st_size)):
        yield False, [path]
    yield False, sorted(path for path in (folder / MODEL).rglob("*") if path.is_file())


def checked(grid: Grid, cell: Cell, file: Path, of_grid: str) -> Packed | str:
    """What is in the file of a cell, or what is wrong with it; raises FileNotFoundError without a file.

    `of_grid` is the digest that the file has as its comment.
    """
    damaged = f"{file} is damaged or half there"
    strange = f"{file} is no file of this program"
    try:
        if file.stat().st_size > PACKED_BYTES:  # before its table of contents is read
            return strange
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > UNPACKED_BYTES:
                return strange
            if archive.testzip() is not None:
                return damaged
            record, same_grid = Record.model_validate_json(archive.read(RECORD)), archive.comment == of_grid.encode()
    except FileNotFoundError:
        raise
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return damaged
    if (record.tags.get("model"), record.tags.get("dataset"), record.config.get("seed")) != tuple(cell):
        return f"{file} is of another training: {record.name}"
    epochs = record.config.get("epochs")
    if not same_grid or epochs != grid.epochs.get(cell, epochs):
        return f"{file} is of another grid"
    digest = grid.data[cell.dataset].sha256
    if record.tags.get("data_sha256") != digest:
        there = str(record.tags.get("data_sha256"))
        return f"{file} was trained on other data: SHA-256 {there[:12]}..., not {digest[:12]}..."
    if not (record.ended and record.epochs and len(record.moments) == len(record.epochs)):
        return damaged
    if not math.isfinite(record.test.get(f"test_{grid.kind.metric}", math.nan)):
        return damaged
    return Packed(record, file)
