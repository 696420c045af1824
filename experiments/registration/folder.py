"""The folder of a pretrained model that goes into the registry: a reference to a commit of the Hub, or the weights."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load

from experiments.registration.choice import ChosenModel
from experiments.registration.download import downloaded
from tasks import describe_folder
from tasks.chat import DEFAULTS_FILE
from tasks.engines.gguf import parts, read_gguf
from tasks.hub.checks import check_folder, model_files
from tasks.hub.memory import check_fits
from tasks.hub.package import PackageSource
from tasks.hub.source import write_source

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Origin:
    """Where a registered model's weights are from, as its tags say.

    Attributes:
        hub_id: `none` for the user's own folder.
        revision: the commit, all of it; `none` for a folder.
        file: the GGUF file of a model on the Hub; else empty.
        packaged: whether the registry holds the weights itself.
        weights: the folder that they are from.
        starter: whether it is a small model that comes with this project.
        package: the package of the package index, with its version, that holds the weights; else empty.
    """

    hub_id: str
    revision: str
    license: str
    packaged: bool
    weights: Path
    starter: bool = False
    package: str = ""
    file: str = ""

    def tags(self) -> dict[str, str]:
        return {
            "hub_id": self.hub_id,
            "revision": self.revision,
            "license": self.license,
            "packaged": str(self.packaged).lower(),
            **({"starter": "true"} if self.starter else {}),
            **({"package": self.package} if self.package else {}),
            **({"file": self.file} if self.file else {}),
        }


def make_folder(choice: ChosenModel, task: str, folder: Path, package_weights: bool) -> Origin:
    """Fill a folder for the registry with the chosen model, which is downloaded if need be.

    Weights of the user's own folder are always copied: the registry cannot rely on a path elsewhere. Raises
    ModelFolderError, in one line, for what cannot be had or is never loaded.
    """
    ignored = _not_needed(task)
    if isinstance(choice.source, PackageSource):
        return _from_package(choice, choice.source, task, folder, package_weights)
    if choice.file is not None:
        model = read_gguf(choice.file)
        check_fits(choice.file.name, model.file_bytes)  # before all of it is copied
        _copy_parts(choice.file, folder)
        describe_folder(folder, task, choice.name)
        return Origin("none", "none", model.license or UNKNOWN, packaged=True, weights=choice.file)
    if choice.folder is not None:
        check_folder(choice.folder)
        _copy(choice.folder, folder, ignored)
        describe_folder(folder, task, choice.name)
        license = str(front_matter(choice.folder).get("license", UNKNOWN)) if choice.starter else UNKNOWN
        return Origin("none", "none", license, packaged=True, weights=choice.folder, starter=choice.starter)
    assert choice.source is not None
    found = downloaded(choice.source, task, choice.variant, ignored)
    pinned = found.source
    weights = found.folder / pinned.file if pinned.file else found.folder
    if not package_weights:
        write_source(folder, pinned)
    elif pinned.file:
        _copy_parts(weights, folder)
    else:
        _copy(weights, folder, ignored)
    describe_folder(folder, task, choice.name)
    known = choice.entry.license if choice.entry else None
    license = known or found.license or (read_gguf(weights).license if pinned.file else None) or UNKNOWN
    return Origin(pinned.hub_id, pinned.revision, license, package_weights, weights, file=pinned.file)


def _from_package(choice: ChosenModel, source: PackageSource, task: str, folder: Path, package_weights: bool) -> Origin:
    """A reference to a file of a package, or the file."""
    weights = source.locate()
    folder.mkdir(parents=True)
    if package_weights:
        shutil.copyfile(weights, folder / weights.name)
    else:
        write_source(folder, source)
    describe_folder(folder, task, choice.name)
    if choice.entry and choice.entry.system and task == "chatbot":
        (folder / DEFAULTS_FILE).write_text(json.dumps({"system": choice.entry.system}) + "\n")
    license = (choice.entry and choice.entry.license) or read_gguf(weights).license or UNKNOWN
    return Origin("none", "none", license, package_weights, weights, package=f"{source.package}=={source.version}")


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


def _copy_parts(first: Path, folder: Path) -> None:
    """Copy a GGUF file, with the other parts of one that was divided."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in parts(first):
        shutil.copyfile(path, folder / path.name)


def front_matter(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's card; empty where it has none that can be read."""
    try:
        return metadata_load(folder / "README.md") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
