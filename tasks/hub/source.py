"""Where a pretrained model's weights come from: its own folder, or the Hugging Face Hub.

A model's folder holds the weights themselves, or names a model of the Hugging Face Hub in `source.json`, which is then
read from the Hub's cache, or downloaded into it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import ModelFolderError, first_line
from tasks.hub.checks import LOADED, SKIPPED, check_folder, model_files
from tasks.json_files import read_json

SOURCE_FILE = "source.json"
HUB_ID = re.compile(r"[A-Za-z0-9]([\w.-]*/)?[\w.-]+")
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


def write_source(folder: Path, source: Source) -> None:
    """Make a folder stand for a model on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(asdict(source), indent=1) + "\n")


def read_source(folder: Path) -> Source | None:
    """The model on the Hub that a folder stands for; None if it holds the weights itself."""
    path = folder / SOURCE_FILE
    if not path.exists():
        return None
    try:
        fields = read_json(path)
        return Source(fields["hub_id"], fields["revision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{path} does not name a hub_id and a revision: {error}") from error


def weights_folder(folder: Path, ignore: Iterable[str] = ()) -> Path:
    """The folder with the weights of a model's folder: itself, or the Hub's cached copy, downloaded if need be.

    Raises ModelFolderError, in one line, for pickles, code, links out of the folder, and for what cannot be had.
    """
    check_folder(folder)
    source = read_source(folder)
    if source is None:
        return folder
    weights = download(source, ignore)
    model_files(weights, ignore)
    return weights


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
            allow_patterns=[f"*{suffix}" for suffix in LOADED],  # its pickles and code never reach this machine
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
