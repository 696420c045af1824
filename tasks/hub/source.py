"""Where a pretrained model's weights come from: its own folder, an installed package, or the Hugging Face Hub.

A model's folder holds the weights themselves, or says in `source.json` where they are: in a file of a package, or in a
model of the Hugging Face Hub, which is then read from the Hub's cache, or downloaded into it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from glob import escape
from pathlib import Path

from tasks.base import ModelFolderError, short
from tasks.hub.checks import GGUF, LOADED, SKIPPED, check_folder, model_files
from tasks.hub.fetch import fetch
from tasks.hub.names import Source
from tasks.hub.package import PackageSource
from tasks.hub.quantization import PART, pick, variants
from tasks.hub.repository import SAFETENSORS, look_up, repository_folder
from tasks.json_files import read_json

SOURCE_FILE = "source.json"
LATER_PART = re.compile(r"-(?!00001-)\d{5}-of-\d{5}\.gguf$")


def write_source(folder: Path, source: Source | PackageSource) -> None:
    """Make a folder stand for a model elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {name: value for name, value in asdict(source).items() if value}
    (folder / SOURCE_FILE).write_text(json.dumps(fields, indent=1) + "\n")


def read_source(folder: Path) -> Source | PackageSource | None:
    """The model elsewhere that a folder stands for; None if it holds the weights itself."""
    path = folder / SOURCE_FILE
    if not path.exists():
        return None
    try:
        fields = read_json(path)
        if "package" in fields:
            return PackageSource(*(str(fields[name]) for name in ("package", "version", "file", "sha256")))
        return Source(fields["hub_id"], fields["revision"], fields.get("file", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{path} does not name a hub_id and a revision, or a package: {error}") from error


def weights(folder: Path, ignore: Iterable[str] = ()) -> Path:
    """Where the weights of a model's folder are: a GGUF file, or a folder with safetensors, downloaded if need be.

    Raises ModelFolderError, in one line, for pickles, code, links out of the folder, and for what cannot be had.
    """
    check_folder(folder)
    source = read_source(folder)
    if isinstance(source, PackageSource):
        return source.locate()
    if source is None:
        return gguf_file(model_files(folder, ignore)) or folder
    place = download(source, ignore)
    model_files(place, ignore)
    return place / source.file if source.file else place


def gguf_file(files: Sequence[Path]) -> Path | None:
    """The GGUF file among a model's files, the first part of one in parts; None if there is none.

    Raises ModelFolderError for several.
    """
    found = [path for path in files if path.suffix == GGUF and not LATER_PART.search(path.name)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ModelFolderError(f"{found[0].parent} holds {len(found)} models as GGUF: {short(names)}; valid: one")
    return found[0] if found else None


def weights_folder(folder: Path, ignore: Iterable[str] = ()) -> Path:
    """The folder with the weights as safetensors of a model's folder. Raises ModelFolderError as `weights` does."""
    place = weights(folder, ignore)
    if place.suffix == GGUF:
        raise ModelFolderError(f"{place} is GGUF, which this task does not run; valid: safetensors")
    return place


def runs_on_llama(folder: Path) -> bool:
    """Whether a model's folder holds, or names, a GGUF file. Nothing is downloaded. Raises ModelFolderError."""
    source = read_source(folder)
    if isinstance(source, PackageSource):
        return source.file.endswith(GGUF)
    if source is not None:
        return bool(source.file)
    return gguf_file(model_files(folder)) is not None


def download(source: Source, ignore: Iterable[str] = ()) -> Path:
    """A model of the Hub as a folder of the Hub's cache; its name is the commit. The cache is asked before the network.

    Args:
        ignore: files that are not needed, as patterns such as `*.fp16.safetensors`.

    Raises ModelFolderError for a wrong id or revision, a gated model, no network, no weights that are loaded.
    """
    left_out = tuple(ignore)
    return in_cache(source, left_out) or fetch(look_up(source, gguf=bool(source.file), ignore=left_out))


def in_cache(source: Source, ignore: Iterable[str] = ()) -> Path | None:
    """The folder of a model in the Hub's cache; None if it, or a part of it, is not there."""
    from huggingface_hub import errors, snapshot_download

    weights = f"*{SAFETENSORS}"
    if source.file:
        wanted = [escape(PART.sub("", source.file)) + "*"]
    else:
        wanted = [f"*{suffix}" for suffix in LOADED if suffix != GGUF]  # its pickles and code never reach this machine
    try:
        found = snapshot_download(
            source.hub_id,
            revision=source.revision,
            allow_patterns=wanted,
            ignore_patterns=[*SKIPPED, *ignore],
            local_files_only=True,
        )
    except errors.EntryNotFoundError:
        return None
    place = Path(found)
    return place if (place / source.file).is_file() or (not source.file and any(place.rglob(weights))) else None


def pinned_in_cache(source: Source, variant: str, *, gguf: bool, ignore: Iterable[str] = ()) -> Source | None:
    """What of a model is in the Hub's cache, at a commit; None if nothing of it is, or not all. For who is offline.

    Args as of `look_up`. Raises ModelFolderError for a variant that is not there.
    """
    repository = repository_folder(source.hub_id)
    reference = repository / "refs" / source.revision
    commit = reference.read_text().strip() if reference.is_file() else source.revision
    snapshot = repository / "snapshots" / commit
    offered = variants(
        (path.relative_to(snapshot).as_posix(), path.stat().st_size) for path in snapshot.rglob(f"*{GGUF}") if gguf
    )
    found = Source(source.hub_id, commit)
    if offered:
        found = replace(found, file=pick(offered, source.file or variant, None, source.hub_id).files[0])
    return found if in_cache(found, ignore) else None
