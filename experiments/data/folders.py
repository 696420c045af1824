"""Users' own pictures: where the files of a folder, a zip or a CSV lie, which class each shows, and which are left out.

Nothing is unpacked and nothing outside of what the user named is read. What cannot be used among good files is listed
with its reason; what makes the whole unusable is one DataError. Torch is not loaded.
"""

import hashlib
import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from experiments.data.downloads import DataError
from experiments.data.layout import MAX_FILES, PARTS, VALID, LabeledFile, ListedFile, Listing, arrange, checked, digest
from tasks.csv_files import TableError, read_table
from tasks.images import MAX_BYTES
from tasks.parameters import short

MAX_CSV_BYTES = 100 * 2**20
MAX_EXPANSION, SMALL_ZIP = 200, 2**30  # a zip may expand to this multiple of its size, or to 1 GB
SYSTEM_FILES = ("Thumbs.db", "desktop.ini", "__MACOSX")  # as hidden ones: no user has put them there


class FileSource(Protocol):
    """Where the files lie."""

    def listing(self) -> Listing: ...

    def read(self, path: str) -> bytes:
        """A file's content, one byte more than MAX_BYTES at most. Raises OSError and what zipfile raises."""
        ...


@contextmanager
def opened(path: str) -> Iterator[FileSource]:
    """The files of a folder, a zip or a CSV. Raises DataError for what is none of them or cannot be read."""
    try:
        path.encode()  # a name that is no Unicode could not be logged
        place = Path(path).expanduser()
        if place.is_dir():
            yield Folder(place.resolve())
        elif not place.exists():
            raise DataError(f"dataset is {short(path)}, and there is no such folder or file; {VALID}")
        elif place.is_file() and zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive:
                yield Zip(archive, place.stat().st_size)
        elif place.is_file() and place.suffix.lower() in (".csv", ".tsv"):
            yield Csv(place.resolve())
        else:
            raise DataError(f"dataset is {short(path)}, which is neither a folder nor a zip nor a CSV; {VALID}")
    except (OSError, RuntimeError, UnicodeError, struct.error, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"dataset is {short(path)}, which cannot be read ({why}); {VALID}") from error


@cache
def count_training(dataset: str) -> int:
    """About how many pictures are for training, by their names alone; counted once. Raises DataError."""
    with opened(dataset) as source:
        items = source.listing().items
    given = Counter(item.part for item in items)
    if "" in given:
        return int(0.7 * len(items))
    return int(given["train"] * (1 - 0.1 * (not given["val"]) - 0.2 * (not given["test"])))


class Folder:
    """A folder on the disk, which has been resolved."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> Listing:
        return arrange(sorted(self._files()), str(self.root))

    def read(self, path: str) -> bytes:
        with (self.root / path).open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def find(self, path: str) -> ListedFile:
        """One file, which must be within the folder, wherever links lead."""
        try:
            real = Path(os.path.realpath(self.root / path))
            facts = real.stat()
        except (OSError, ValueError) as error:
            return ListedFile(path, "", f"cannot be read ({getattr(error, 'strerror', None) or error})")
        if not real.is_relative_to(self.root):
            return ListedFile(path, "", "leads out of the folder")
        if not stat.S_ISREG(facts.st_mode):
            return ListedFile(path, "", "is no file, or a link to a folder")
        return ListedFile(path, f"{facts.st_size} {facts.st_mtime_ns}")

    def _files(self, folder: str = "") -> Iterator[ListedFile]:
        for entry in os.scandir(self.root / folder):
            path = f"{folder}{entry.name}"
            if _hidden(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                facts = entry.stat()
                yield ListedFile(path, f"{facts.st_size} {facts.st_mtime_ns}")
            else:
                yield self.find(path)


class Zip:
    """A zip file of `size` bytes, read member by member."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive, self.size = archive, size

    def listing(self) -> Listing:
        members = [one for one in self.archive.infolist() if not one.is_dir()]
        total = sum(one.file_size for one in members)
        if total > max(SMALL_ZIP, MAX_EXPANSION * self.size):
            raise DataError(
                f"{self.archive.filename} would unpack to {total / 1e9:,.0f} GB, more than {MAX_EXPANSION} times its "
                "size; valid: a zip of pictures, which hardly get smaller"
            )
        found = [
            ListedFile(one.filename, f"{one.file_size} {one.CRC}", self._fault(one))
            for one in members
            if not any(map(_hidden, PurePosixPath(one.filename).parts))
        ]
        return arrange(sorted(found), str(self.archive.filename))

    def read(self, path: str) -> bytes:
        with self.archive.open(path) as file:
            return file.read(MAX_BYTES + 1)

    def _fault(self, member: zipfile.ZipInfo) -> str:
        if member.filename.startswith("/") or ".." in PurePosixPath(member.filename).parts:
            return "leads out of the zip"
        if stat.S_ISLNK(member.external_attr >> 16):
            return "is a link, which is not followed"
        return "is encrypted" if member.flag_bits & 1 else ""


class Csv(Folder):
    """A CSV with the columns `file` and `label`, and `part` if the data come split.

    Its files lie in its folder or below.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent)
        self.file = file

    def listing(self) -> Listing:
        try:
            with self.file.open("rb") as file:
                content = file.read(MAX_CSV_BYTES + 1)
            wanted = {"file": True, "label": True, "part": False}
            table = read_table(content, tuple(wanted), max_rows=MAX_FILES, max_bytes=MAX_CSV_BYTES)
            places = table.places(wanted)
        except TableError as error:
            raise DataError(f"{self.file}: {error}") from error
        items, left_out, stamps, seen = [], [], [], set()
        for line, cells in table.rows:
            path, label = cells[places["file"]].strip(), cells[places["label"]]
            part = cells[places["part"]].strip().lower() if "part" in places else ""
            found = self.find(path)
            fault = found.fault or ("" if label.strip() else "has no label")
            if not fault and part and part not in PARTS:
                fault = f"has the part {short(part)}; valid: train, val, test, or none"
            if not fault and (path, label) in seen:
                fault = "is named twice with this label"
            if fault:
                left_out.append((path, f"line {line}: {fault}"))
            else:
                seen.add((path, label))
                items.append(LabeledFile(path, label, PARTS.get(part, "")))
                stamps.append(found.stamp)
        if items and not all(item.part for item in items) and any(item.part for item in items):
            raise DataError(f"{self.file} names the part of some files only; valid: of all, or no column part")
        key = digest([hashlib.sha256(content).hexdigest(), *stamps])
        return checked(Listing(tuple(items), tuple(left_out), "", key), str(self.file))


def _hidden(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name in SYSTEM_FILES
