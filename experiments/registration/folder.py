"""The folder of a pretrained model that goes into the registry: a reference to a commit of the Hub, or the weights."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import model_info

from experiments.registration.choice import Choice
from tasks import describe_folder
from tasks.hub.checks import check_folder, model_files
from tasks.hub.source import Source, download, write_source

UNKNOWN = "unknown"
LICENCE_TIMEOUT_S = 10


@dataclass(frozen=True)
class Origin:
    """Where a registered model's weights are from, as its tags say.

    Attributes:
        hub_id: `none` for a folder of a person's own.
        revision: the commit, all of it; `none` for a folder.
        packaged: whether the registry holds the weights itself.
        weights: the folder that they are from.
        starter: whether it is a small model that comes with this project.
    """

    hub_id: str
    revision: str
    licence: str
    packaged: bool
    weights: Path
    starter: bool = False

    def tags(self) -> dict[str, str]:
        return {
            "hub_id": self.hub_id,
            "revision": self.revision,
            "licence": self.licence,
            "packaged": str(self.packaged).lower(),
            **({"starter": "true"} if self.starter else {}),
        }


def make_folder(choice: Choice, task: str, folder: Path, package_weights: bool) -> Origin:
    """Fill a folder for the registry with the chosen model, which is downloaded if need be.

    Weights of a person's own folder are always copied: the registry cannot rely on a path elsewhere. Raises
    ModelFolderError, in one line, for what cannot be had or is never loaded.
    """
    ignored = _not_needed(task)
    if choice.folder is not None:
        check_folder(choice.folder)
        _copy(choice.folder, folder, ignored)
        describe_folder(folder, task, choice.name)
        licence = str(front_matter(choice.folder).get("license", UNKNOWN)) if choice.starter else UNKNOWN
        return Origin("none", "none", licence, packaged=True, weights=choice.folder, starter=choice.starter)
    assert choice.source is not None
    weights = download(choice.source, ignored)
    pinned = Source(choice.source.hub_id, weights.name)  # the cache calls a model's folder by its commit
    if package_weights:
        _copy(weights, folder, ignored)
    else:
        write_source(folder, pinned)
    describe_folder(folder, task, choice.name)
    known = choice.entry.licence if choice.entry else None
    return Origin(pinned.hub_id, pinned.revision, known or _licence(pinned), package_weights, weights)


def _not_needed(task: str) -> tuple[str, ...]:
    """Files of a Hub repository that the task would not load."""
    if task != "image-generation":
        return ()
    from tasks.image_generation import NOT_NEEDED

    return NOT_NEEDED


def _copy(source: Path, target: Path, ignored: tuple[str, ...]) -> None:
    """Copy the files that are loaded into the same places under another folder; links become files."""
    for path in model_files(source, ignored):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _licence(source: Source) -> str:
    """The licence on a model's page; `unknown` where the page has none or cannot be reached."""
    try:
        card = model_info(source.hub_id, revision=source.revision, timeout=LICENCE_TIMEOUT_S).card_data
    except Exception:  # the Hub's client passes on errors of several libraries; a licence is worth no failure
        return UNKNOWN
    name = card.get("license_name") or card.get("license") if card else None
    return str(name or UNKNOWN)


def front_matter(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's card; empty where it has none that can be read."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        found = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (OSError, ValueError, IndexError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
