"""Which pretrained model a person means: a name of the catalogue, a Hub id, or a folder."""

from dataclasses import dataclass
from pathlib import Path

from experiments.config import ConfigError
from tasks.base import ModelFolderError, short
from tasks.catalog import CatalogModel, catalog
from tasks.hub.checks import cached_repository, check_folder
from tasks.hub.source import Source, read_source

AUTO = "auto"
HUB = "hub"
MAIN = "main"


@dataclass(frozen=True)
class Choice:
    """A model, either on the Hub (`source`) or in a folder of this machine (`folder`).

    Attributes:
        entry: its catalogue entry, if it has one.
        starter: whether it is the small model that comes with this project.
    """

    name: str
    source: Source | None = None
    folder: Path | None = None
    entry: CatalogModel | None = None
    starter: bool = False


def choose(task: str, model: str, revision: str | None) -> Choice:
    """The model that a name stands for: the catalogue comes first, then folders, then the Hub.

    Args:
        model: name of the catalogue, Hub id, folder; `auto` for the task's starter, and where it has none for the
            catalogue's default; `hub` for that in any case.
        revision: commit, tag or branch on the Hub; None: the catalogue's, or `main`.

    Raises ConfigError, naming what is valid, for what can be none of these.
    """
    offers = catalog()[task]
    if model == AUTO and offers.starter_here is not None and revision is None:
        return Choice(f"starter-{offers.starter_here.name}", folder=offers.starter_here, starter=True)
    entry = offers.default if model in (AUTO, HUB) else offers.find(model)
    if entry is not None:
        return Choice(entry.hub_id, source=_source(entry.hub_id, revision or entry.revision, task), entry=entry)
    try:
        folder = Path(model).expanduser()
        if model.strip() and "\0" not in model and folder.is_dir():
            return _of_folder(folder.resolve(), revision)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that may not be read, an unknown ~user
        raise ConfigError(
            f"model is {short(model)}, which cannot be read: {getattr(error, 'strerror', None) or error}; "
            f"{_valid(task)}"
        ) from error
    return Choice(model, source=_source(model, revision or MAIN, task))


def _of_folder(folder: Path, revision: str | None) -> Choice:
    """A folder with weights, or one that stands for a model on the Hub."""
    if revision is not None:
        raise ConfigError(f"revision is {revision!r}; valid: auto, since a folder has no revisions")
    try:
        check_folder(folder)
        source = read_source(folder)
    except ModelFolderError as error:
        raise ConfigError(f"model: {error}") from error
    return Choice(source.hub_id, source=source) if source else Choice(_name(folder), folder=folder)


def _name(folder: Path) -> str:
    """What a folder's model is called: a snapshot in the Hub's cache, which is named by its commit, by its Hub id."""
    repository = cached_repository(folder)
    return repository.name.removeprefix("models--").replace("--", "/") if repository else folder.name


def _source(hub_id: str, revision: str, task: str) -> Source:
    try:
        return Source(hub_id, revision)
    except ModelFolderError as error:
        raise ConfigError(f"model is {hub_id!r} with revision {revision!r}; {_valid(task)}") from error


def _valid(task: str) -> str:
    """Which models there are for a task, in words."""
    names = ", ".join(model.name for model in catalog()[task].models)
    return f"valid for {task}: {names}, the id of a model on the Hugging Face Hub (owner/name), or an existing folder"
