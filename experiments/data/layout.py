"""How files make a data set of pictures: by the folders that they lie in, classes and parts. By names alone."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from experiments.data.downloads import DataError
from tasks.parameters import short

MAX_FILES = 1_000_000
MAX_CLASSES, MAX_LABEL = 1000, 100
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
VALID = (
    "valid: a folder with one folder of pictures for each class (or these under train/, val/ and test/), a zip of such "
    "a folder, or a CSV with the columns file and label"
)


class LabeledFile(NamedTuple):
    """A file: its path within the data set, its class, and its part (train, val, test; empty without a split)."""

    path: str
    label: str
    part: str


class Listing(NamedTuple):
    """What a data set consists of, by names alone.

    `left_out` are paths and reasons; `prefix` precedes the paths where they are read; `key` changes when a file is
    added, removed, renamed or written to.
    """

    items: tuple[LabeledFile, ...]
    left_out: tuple[tuple[str, str], ...]
    prefix: str
    key: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.items}))


class ListedFile(NamedTuple):
    """A file, by its path in the source; `stamp` changes with its content, `fault` says why it is not to be read."""

    path: str
    stamp: str
    fault: str = ""


def arrange(files: list[ListedFile], origin: str) -> Listing:
    """Files as pictures of classes, by the folders that they lie in. Raises DataError for what is no such layout."""
    if len(files) > MAX_FILES:
        raise DataError(f"{origin} has more than {MAX_FILES:,} files; valid: at most that many")
    left_out = [(found.path, found.fault) for found in files if found.fault]
    sound = [found for found in files if not found.fault]
    prefix, within = _innermost(sound)
    split = any(PARTS.get(one[0].lower()) == "train" and len(one) > 2 for one in within.values())
    items = []
    for found in sound:
        inner = within.get(found, [""])
        part = PARTS.get(inner[0].lower(), "") if split else ""
        folders = inner[1:-1] if part else inner[:-1]
        if not folders or (split and not part):
            left_out.append((found.path, "lies in no folder of a class"))
        else:
            items.append(LabeledFile("/".join(inner), folders[0], part))
    key = digest(f"{found.path}\0{found.stamp}" for found in files)
    return checked(Listing(tuple(items), tuple(left_out), prefix, key), origin)


def _innermost(files: Iterable[ListedFile]) -> tuple[str, dict[ListedFile, list[str]]]:
    """The folder around all classes, as the one that a zip was made of, and the files in it by their paths from there.

    A file beside the folders, such as a README, does not make the folder around them a class.
    """
    prefix, within = "", {found: found.path.split("/") for found in files}
    while True:
        folders = {one[0] for one in within.values() if len(one) > 1}
        if len(folders) != 1 or all(len(one) < 3 for one in within.values()):
            return prefix, within
        prefix += f"{folders.pop()}/"
        within = {found: one[1:] for found, one in within.items() if len(one) > 1}


def checked(listing: Listing, origin: str) -> Listing:
    """The listing, if a network can learn from it by what its names say. Raises DataError."""
    classes = listing.classes
    if not listing.items:
        why = ""
        if listing.left_out:
            path, fault = listing.left_out[0]
            why = f" ({len(listing.left_out)} files left out, the first: {short(path)} {fault})"
        raise DataError(f"{origin} has no pictures of classes{why}; {VALID}")
    for label in classes:
        if not label.isprintable() or len(label) > MAX_LABEL:
            raise DataError(
                f"{origin} has the class {short(label)}; valid: names of at most {MAX_LABEL} characters that can be "
                "printed: rename it"
            )
    alike = Counter(" ".join(label.split()).casefold() for label in classes)
    for name, count in alike.items():
        if count > 1:
            several = [repr(label) for label in classes if " ".join(label.split()).casefold() == name]
            raise DataError(
                f"{origin} has the classes {' and '.join(several)}, which differ only by case or blanks; valid: one "
                "name for a class: rename or merge them"
            )
    if not 2 <= len(classes) <= MAX_CLASSES:
        only = f" ({short(classes[0])})" if len(classes) == 1 else ""
        raise DataError(
            f"{origin} has {len(classes):,} class{'es' if len(classes) > 1 else ''}{only}; valid: 2 to 1,000"
        )
    trained = {item.label for item in listing.items if item.part in ("", "train")}
    for item in listing.items:
        if item.label not in trained:
            raise DataError(
                f"{origin} has the class {short(item.label)} in {item.part} and not in train; valid: every class of "
                "val and test is in train, too"
            )
    return listing


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of some texts, which may be file names that are no Unicode."""
    sha = hashlib.sha256()
    for line in lines:
        sha.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return sha.hexdigest()
