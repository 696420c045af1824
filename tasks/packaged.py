"""Where a version's files lie within what MLflow stored of it. Knows no MLflow."""

from pathlib import Path

import yaml

from tasks.base import ModelFolderError


def packaged_folder(place: Path, name: str) -> Path:
    """The model's folder within a logged model's. Raises ModelFolderError. Args: name: of the version, for errors."""
    try:
        flavors = yaml.safe_load((place / "MLmodel").read_text(encoding="utf-8"))["flavors"]
        folder = place / flavors["python_function"]["artifacts"]["model"]["path"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{name} was not packaged by this project: it names no model's folder") from error
    if not folder.resolve().is_relative_to(place.resolve()):
        raise ModelFolderError(f"{name} names a folder outside of its own files")
    return folder
