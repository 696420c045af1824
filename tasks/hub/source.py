"""Where a pretrained model's weights come from: its own folder, an installed package, or the Hugging Face Hub.

A model's folder holds the weights themselves, or says in `source.json` where they are: in a file of a package, or in a
model of the Hugging Face Hub, which is then read from the Hub's cache, or downloaded into it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import ModelFolderError, first_line, short
from tasks.hub.checks import GGUF, LOADED, SKIPPED, check_folder, model_files
from tasks.hub.package import PackageSource
from tasks.json_files import read_json

SOURCE_FILE = "source.json"
HUB_ID = re.compile(r"[A-Za-z0-9]([\w.-]*/)?[\w.-]+", re.ASCII)  # the oldest have no owner: gpt2
LATER_PART = re.compile(r"-(?!00001-)\d{5}-of-\d{5}\.gguf$")
REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")


@dataclass(frozen=True)
class Source:
    """A model on the Hub: its id, and a commit, tag or branch."""

    hub_id: str
    revision: str

    def __post_init__(self) -> None:
        for name, pattern in (("hub_id", HUB_ID), ("revision", REVISION)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
                raise ModelFolderError(f"{name} is {value!r}; valid: what the Hub calls models and commits")


def write_source(folder: Path, source: Source | PackageSource) -> None:
    """Make a folder stand for a model elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(asdict(source), indent=1) + "\n")


def read_source(folder: Path) -> Source | PackageSource | None:
    """The model elsewhere that a folder stands for; None if it holds the weights itself."""
    path = folder / SOURCE_FILE
    if not path.exists():
        return None
    try:
        fields = read_json(path)
        if "package" in fields:
            return PackageSource(*(str(fields[name]) for name in ("package", "version", "file", "sha256")))
        return Source(fields["hub_id"], fields["revision"])
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
    place = folder if source is None else download(source, ignore)
    return gguf_file(model_files(place, ignore)) or place


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
    return source is None and gguf_file(model_files(folder)) is not None


def download(source: Source, ignore: Iterable[str] = ()) -> Path:
    """A model of the Hub as a folder of the Hub's cache; its name is the commit. The cache is asked before the network.

    Args:
        ignore: files that are not needed, as patterns such as `*.fp16.safetensors`.

    Raises ModelFolderError for a wrong id or revision, a gated model, no network, no safetensors.
    """
    from huggingface_hub import errors, snapshot_download

    def fetch(offline: bool) -> Path:
        found = snapshot_download(
            source.hub_id,
            revision=source.revision,
            allow_patterns=[
                f"*{suffix}" for suffix in LOADED if suffix != GGUF
            ],  # its pickles and code never reach this machine
            ignore_patterns=[*SKIPPED, *ignore],
            local_files_only=offline,
        )
        if not any(Path(found).rglob("*.safetensors")):
            raise errors.EntryNotFoundError
        return Path(found)

    try:
        try:
            return fetch(offline=True)
        except errors.EntryNotFoundError:  # not in the cache, or not all of it
            return fetch(offline=False)
    except errors.GatedRepoError:
        reason = "is gated: accept its terms on its page and log in with `hf auth login`"
    except errors.RepositoryNotFoundError:
        reason = "is not on the Hub, or is private: check the id"
    except errors.RevisionNotFoundError:
        reason = f"has no revision {source.revision}"
    except errors.LocalEntryNotFoundError:
        reason = "is not in the local cache, and the Hub cannot be reached"
    except errors.EntryNotFoundError:
        reason = "has no weights as safetensors; pickles are not loaded"
    except Exception as error:  # the Hub's client passes on errors of several libraries
        reason = f"cannot be downloaded: {first_line(error)}"
    raise ModelFolderError(f"{source.hub_id} {reason}")
