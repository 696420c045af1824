"""Uploaded pictures on this machine's disk, under `data/own`, in names that lead nowhere else. No Streamlit here."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from experiments.config import UserError, dataset_name
from tasks.disk import write_whole
from tasks.parameters import short

HOME = Path("data/own")
MOST_BYTES = 200  # of a name in UTF-8: disks take 255, with a number and while it is written
TEXTS = (".csv", ".tsv", ".jsonl")


class Upload(Protocol):
    """A file as Streamlit gives it; `name` is its path where a whole folder was uploaded."""

    name: str

    def getvalue(self) -> bytes: ...


class Kept(NamedTuple):
    """What became of an upload: the path of the data set, how many files were written, and names that were not."""

    path: str
    written: int
    refused: tuple[str, ...]


def kept_sets() -> list[str]:
    """The paths of the data sets that were uploaded so far."""
    found = [path for path in HOME.iterdir() if path.is_dir() or path.suffix == ".zip"] if HOME.is_dir() else []
    return sorted(map(str, found))


def keep_zip(name: str, upload: Upload) -> Kept:
    """A zip as `data/own/<name>.zip`, with a number if another one has this name. Raises UserError."""
    return _keep_file(HOME / f"{_clean(name)}.zip", upload.getvalue())


def kept_texts() -> list[str]:
    """The paths of the files of texts that were uploaded so far."""
    return sorted(str(path) for path in HOME.glob("*") if path.suffix in TEXTS and not path.name.startswith("."))


def keep_texts(upload: Upload) -> Kept:
    """A file of texts as `data/own/<its name>`, with a number if another one has this name. Raises UserError."""
    path = PurePosixPath(upload.name)
    if path.suffix.lower() not in TEXTS:
        raise UserError(f"the file is {short(upload.name)}; valid: {', '.join(TEXTS)}")
    return _keep_file(HOME / f"{_clean(path.stem)}{path.suffix.lower()}", upload.getvalue())


def keep_folder(name: str, uploads: Iterable[Upload]) -> Kept:
    """A folder's files below `data/own/<name>`, without the name of the folder itself. Raises UserError.

    If there is one of this name, a number is added: files of two data sets are not to be mixed.
    """
    number, folder = 2, HOME / _clean(name)
    while folder.exists():
        folder = HOME / f"{_clean(name)}-{number}"
        number += 1
    return _keep(folder, ((PurePosixPath(*PurePosixPath(one.name).parts[1:]), one) for one in uploads))


def keep_class(name: str, label: str, uploads: Iterable[Upload]) -> Kept:
    """Pictures of one class as `data/own/<name>/<label>/...`, beside those that are there. Raises UserError."""
    label = " ".join(label.split())
    if not label or not _is_safe(PurePosixPath(label)) or "/" in label:
        raise UserError(f"the class is {short(label)}; valid: a name of at most {MOST_BYTES} bytes, no slash")
    return _keep(HOME / _clean(name), ((PurePosixPath(label) / PurePosixPath(one.name).name, one) for one in uploads))


def _keep_file(path: Path, content: bytes) -> Kept:
    target = _free(path, content)
    _write(target, content)
    return Kept(str(target), 1, ())


def _keep(folder: Path, files: Iterable[tuple[PurePosixPath, Upload]]) -> Kept:
    written, refused = 0, []
    for inner, upload in files:
        if not _is_safe(inner):
            refused.append(upload.name)
            continue
        content = upload.getvalue()
        _write(_free(folder / inner, content), content)
        written += 1
    return Kept(str(folder), written, tuple(refused))


def _clean(name: str) -> str:
    if not name.strip():
        raise UserError("the data set has no name; valid: letters, digits, - and _")
    return dataset_name(f"./{name.strip()}")


def _is_safe(inner: PurePosixPath) -> bool:
    """Whether a path stays where it is put, in names that every disk takes."""
    return bool(inner.parts) and all(
        part not in ("..", "/") and "\\" not in part and part.isprintable() and len(part.encode()) <= MOST_BYTES
        for part in inner.parts
    )


def _free(path: Path, content: bytes) -> Path:
    """The path, or one with a number where another file has it: cameras give the same names again."""
    number, free = 2, path
    while free.exists() and not (free.is_file() and free.read_bytes() == content):
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _write(target: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises UserError, as for a full disk."""
    try:
        write_whole(target, content)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
