"""A model's folder: which of its files are loaded, and what must not be in it."""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tasks.base import ModelFolderError, first_line, short
from tasks.json_files import read_json

GGUF = ".gguf"
LOADED = (".safetensors", ".json", ".txt", ".model", ".jinja", GGUF)
# Copies of the weights for other programs.
SKIPPED = ("onnx/*", "openvino/*", "original/*", "consolidated*", "coreml/*")
# Repositories of the Hub have these beside the safetensors, for other programs. Some are pickles.
OTHER_WEIGHTS = frozenset({".bin", ".ckpt", ".h5", ".msgpack", ".ot"})
# No loader asks for these, but each would run code if one did.
DANGEROUS = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill"})
POINTER = b"version https://git-lfs"


def check_folder(folder: Path) -> None:
    """Refuse a model folder with code, pickles in place of weights, or anything that `model_files` refuses.

    Raises ModelFolderError.
    """
    weights = any(path.suffix in (".safetensors", GGUF) for path in model_files(folder))
    for path in _walk(folder):
        kind = path.suffix.lower()
        if kind in DANGEROUS:
            raise ModelFolderError(f"{path} is not loaded: a model's folder may not hold code or pickles")
        if kind in OTHER_WEIGHTS and not weights:
            raise ModelFolderError(
                f"{path} is not loaded: weights are read as safetensors or GGUF, and the folder has neither"
            )


def model_files(folder: Path, ignore: Iterable[str] = ()) -> list[Path]:
    """The files of a model's folder that its loaders may open. What else lies there is neither loaded nor copied.

    Args:
        ignore: files that are not needed, as patterns such as `*.fp16.safetensors`.

    Raises ModelFolderError for links out of the folder (a snapshot of the Hub's cache may link to its own blobs), for
    what is not an ordinary file, and for an index that names weights elsewhere or in another format.
    """
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is not a folder")
    left_out = (*SKIPPED, *ignore)
    files = []
    for path in _walk(folder):
        if path.is_symlink() and not _leads_within(path, folder.resolve()):
            raise ModelFolderError(f"{path} points out of the model's folder")
        if path.is_symlink() and path.is_dir():  # what a loader finds behind it has not been looked at
            raise ModelFolderError(f"{path} is a link to a folder; valid: the folder itself")
        name = path.relative_to(folder).as_posix()
        skipped = path.name.startswith(".") or any(fnmatch(name, pattern) for pattern in left_out)
        if path.suffix in LOADED and not skipped and not path.is_dir():
            _check_file(path)
            files.append(path)
    for path in files:
        if ".safetensors.index." in path.name:  # a variant's name is behind it: model.safetensors.index.fp16.json
            _check_index(path, files)
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """All files, folders and links under a folder, without what hidden folders (.git, .cache) hold."""

    def fail(error: OSError) -> None:
        raise ModelFolderError(f"{error.filename} cannot be read: {error.strerror}") from error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in (*folders, *names))


def cached_repository(snapshot: Path) -> Path | None:
    """The repository in the Hub's cache, `models--owner--name`, that a resolved folder is a snapshot of; else None."""
    repository = snapshot.parent.parent
    return repository if snapshot.parent.name == "snapshots" and repository.name.startswith("models--") else None


def _leads_within(link: Path, root: Path) -> bool:
    """Whether a link leads to a place within a folder, or to a blob of the repository in the Hub's cache that it is."""
    try:
        target = link.resolve()
    except (OSError, RuntimeError):  # it leads to itself
        return False
    repository = cached_repository(root)
    return target.is_relative_to(root) or (repository is not None and target.parent == repository / "blobs")


def _check_file(path: Path) -> None:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ModelFolderError(f"{path} is not a file, or a link to one that is gone")
        with path.open("rb") as file:
            start = file.read(len(POINTER))
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read: {error.strerror}") from error
    if start == POINTER:
        raise ModelFolderError(f"{path} is a pointer of Git LFS, not the file; run `git lfs pull` in its folder")


def _check_index(path: Path, files: list[Path]) -> None:
    """Refuse an index with anything but names of safetensors beside it: transformers would load that with pickle."""
    try:
        shards = set(read_json(path)["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFolderError(f"{path} is not an index of weights: {first_line(error)}") from error
    beside = {file.name for file in files if file.parent == path.parent and file.suffix == ".safetensors"}
    if wrong := shards - beside:
        named = short(min(wrong, key=str))
        raise ModelFolderError(f"{path} names {named}; valid: names of .safetensors files beside it")


def check_config(folder: Path) -> None:
    """Refuse a config that names code or weights elsewhere, which this or newer libraries would load.

    Raises ModelFolderError, also for a config that cannot be read and for an adapter.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelFolderError(f"{folder} holds an adapter; valid: a whole model, merged with its adapter")
    path = folder / "config.json"
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise ModelFolderError(f"{path} does not hold an object")
    for names, value in _leaves(config):
        if names[-1] == "transformers_weights" and not _is_weights(folder, value):
            raise ModelFolderError(
                f"{path} names weights elsewhere: {short(value)}; valid: a .safetensors file beside it"
            )
        if any(name.endswith("_implementation") for name in names) and "/" in str(value):
            raise ModelFolderError(f"{path} names code elsewhere in {short(names[-1])}, which is never loaded")


def _leaves(config: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each plain value in nested JSON, with the names that lead to it."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), config)]
    while waiting:
        names, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(((*names, name), part) for name, part in value.items())
        elif isinstance(value, list):
            waiting.extend((names, part) for part in value)
        else:
            yield names, value


def _is_weights(folder: Path, name: Any) -> bool:
    """Whether a name is that of safetensors, or of an index of them, in a folder."""
    return name is None or any(
        path.name == name and name.endswith((".safetensors", ".safetensors.index.json")) for path in model_files(folder)
    )
