"""Users' own pictures as arrays: decoded once to a file of pixels under `data_dir/cache`, which later starts map.

Beside it lies what is known of every picture. Both are made anew when the source, by names, sizes and times, or the
size of the pictures is another. Torch is not loaded.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from experiments.config import dataset_name
from experiments.data.decoding import Show, WrittenPicture, decode_to
from experiments.data.downloads import DataError
from experiments.data.folders import FileSource, opened
from experiments.data.layout import LabeledFile, Listing, checked, digest
from tasks.json_files import read_json
from tasks.parameters import short

FORMAT = 1


@dataclass(frozen=True)
class OwnImages:
    """Own pictures, decoded.

    Attributes:
        images: uint8 `(n, size, size, channels)`, mapped from a file.
        labels: int64 `(n,)`, places in `classes`.
        rows: what is known of each picture.
        left_out: files that are not among them, and why.
        sha256: of the content: every file with its path, class and part.
    """

    name: str
    origin: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    rows: tuple[WrittenPicture, ...]
    left_out: tuple[tuple[str, str], ...]
    sha256: str

    @property
    def parts(self) -> np.ndarray:
        """The part of each (train, val, test), empty texts without a split."""
        return np.array([row.item.part for row in self.rows])


def load_own(dataset: str, data_dir: str, size: int, show: Show | None = None) -> OwnImages:
    """Decode a folder, zip or CSV of pictures, or map what was decoded before.

    Args: show: called with how many of how many are decoded.

    Raises DataError, in one line, for what cannot be used; files that cannot be read among good ones are left out.
    """
    with opened(dataset) as source:
        listing = source.listing()
        origin = str(Path(dataset).expanduser().resolve())
        name = dataset_name(dataset)
        place = hashlib.sha256(os.fsencode(origin)).hexdigest()[:8]
        try:
            folder = Path(data_dir).expanduser() / "cache"
            folder.mkdir(parents=True, exist_ok=True)
            base = folder / f"{name}-{place}-{size}"
            with FileLock(f"{base}.lock"):
                facts = _cached(base, listing.key)
                if facts is not None:
                    with suppress(ValueError, TypeError, LookupError):  # it is damaged, or was changed
                        return _mapped(base, facts, name, origin)
                return _mapped(base, _decode(base, source, listing, size, show), name, origin)
        except OSError as error:
            raise DataError(
                f"data_dir is {short(data_dir)}, where decoded pictures cannot be kept ({error.strerror or error}); "
                "valid: a folder that can be written to, with room"
            ) from error


def _mapped(base: Path, facts: dict[str, Any], name: str, origin: str) -> OwnImages:
    rows = tuple(WrittenPicture(LabeledFile(*row[0]), tuple(row[1]), *row[2:]) for row in facts["rows"])
    if content_digest(rows) != facts["sha256"]:
        raise ValueError("the rows are not those that were decoded")
    left_out = tuple((path, why) for path, why in facts["left_out"])
    # Pictures that could not be read may have been the last ones of a class.
    kept = checked(Listing(tuple(row.item for row in rows), left_out, "", facts["key"]), origin)
    places = {label: number for number, label in enumerate(kept.classes)}
    labels = np.array([places[row.item.label] for row in rows], np.int64)
    # Copy on write: torch warns of arrays that cannot be written to; these never are.
    images = np.memmap(_pixels(base), np.uint8, "c", shape=tuple(facts["shape"]))
    return OwnImages(name, origin, images, labels, kept.classes, rows, left_out, facts["sha256"])


def _pixels(base: Path) -> Path:
    return base.with_name(f"{base.name}.u8")


def _facts(base: Path) -> Path:
    return base.with_name(f"{base.name}.json")


def _cached(base: Path, key: str) -> dict[str, Any] | None:
    """What was decoded before, if it is of the same source and whole."""
    try:
        facts = read_json(_facts(base))
        same = facts["format"] == FORMAT and facts["key"] == key
        return facts if same and facts["pixels"] == _file_digest(_pixels(base)) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _decode(base: Path, source: FileSource, listing: Listing, size: int, show: Show | None) -> dict[str, Any]:
    aside = base.with_name(f"{base.name}.part")
    _facts(base).unlink(missing_ok=True)
    try:
        rows, unreadable, channels = decode_to(aside, source, listing.prefix, listing.items, size, show)
        facts = {
            "format": FORMAT,
            "key": listing.key,
            "shape": [len(rows), size, size, channels],
            "sha256": content_digest(rows),
            "pixels": _file_digest(aside),
            "left_out": [*unreadable, *listing.left_out],
            "rows": rows,
        }
        aside.replace(_pixels(base))
    finally:
        aside.unlink(missing_ok=True)
    text = json.dumps(facts)
    written = _facts(base).with_suffix(".json.part")
    written.write_text(text)
    written.replace(_facts(base))
    return json.loads(text)


def content_digest(rows: Iterable[WrittenPicture]) -> str:
    """SHA-256 of all that a training learns from: each file's content, path, class and part."""
    return digest("\0".join((row.item.part, row.item.label, row.item.path, row.sha256)) for row in rows)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
