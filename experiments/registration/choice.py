"""Which pretrained model the user means: a name of the catalog, a Hub id, or a folder."""

from dataclasses import dataclass
from pathlib import Path

from experiments.config import ConfigError, RegisterConfig
from tasks import PRETRAINED_TASKS
from tasks.base import ModelFolderError, short
from tasks.catalog import CatalogError, CatalogModel, catalog
from tasks.engines.gguf import read_gguf
from tasks.hub.checks import GGUF, cached_repository, check_folder
from tasks.hub.names import Source, parse
from tasks.hub.package import PackageSource
from tasks.hub.source import read_source

AUTO = "auto"
HUB = "hub"
MAIN = "main"


@dataclass(frozen=True)
class ChosenModel:
    """A model: elsewhere (`source`), in a folder of this machine (`folder`), or in a GGUF file there (`file`).

    Attributes:
        variant: of a model on the Hub, the quantization or GGUF file that is meant; empty for the default.
        entry: its catalog entry, if it has one.
        starter: whether it is the small model that comes with this project.
    """

    name: str
    source: Source | PackageSource | None = None
    folder: Path | None = None
    file: Path | None = None
    variant: str = ""
    entry: CatalogModel | None = None
    starter: bool = False


def choices(config: RegisterConfig) -> dict[str, ChosenModel]:
    """The model of each task that a configuration asks for; those of packages come first.

    Raises ConfigError for what can be none.
    """
    tasks = PRETRAINED_TASKS if config.task == "all" else (config.task,)
    if len(tasks) > 1 and (config.model not in (AUTO, HUB) or config.revision is not None):
        raise ConfigError(
            f"model is {config.model!r} for all tasks; valid: auto or hub (and revision auto), or a single task with it"
        )
    try:
        found = {task: choose(task, config.model, config.revision) for task in tasks}
    except CatalogError as error:
        raise ConfigError(str(error)) from error
    # Those in packages are there in seconds; who sets everything up may chat while the others are being registered.
    return dict(sorted(found.items(), key=lambda one: not isinstance(one[1].source, PackageSource)))


def choose(task: str, model: str, revision: str | None) -> ChosenModel:
    """The model that a name stands for: the catalog comes first, then folders, then the Hub.

    Args:
        model: name of the catalog, Hub id (`:Q4_K_M` or `:file.gguf` behind it names one of its GGUF files), folder,
            GGUF file; `auto` for the task's starter, or its model in a package, and where it has neither for the
            catalog's default; `hub` for that in any case.
        revision: commit, tag or branch on the Hub; None: the catalog's, or `main`.

    Raises ConfigError, naming what is valid, for what can be none of these.
    """
    offers = catalog()[task]
    if model == AUTO and offers.starter_here is not None and revision is None:
        return ChosenModel(f"starter-{offers.starter_here.name}", folder=offers.starter_here, starter=True)
    first = offers.packaged if model == AUTO and revision is None else None
    entry = first or offers.default if model in (AUTO, HUB) else offers.find(model)
    if entry is not None and entry.package is not None:
        if revision is not None:
            raise ConfigError(f"revision is {revision!r}; valid: auto, since {entry.name} is in a package")
        return ChosenModel(entry.name, source=entry.package, entry=entry)
    if entry is not None:
        return ChosenModel(
            entry.model_id, source=_source(entry.model_id, revision or entry.revision, task), entry=entry
        )
    try:
        folder = Path(model).expanduser()
        if model.strip() and "\0" not in model and folder.is_dir():
            return _of_folder(folder.resolve(), revision)
        if folder.suffix == GGUF and folder.is_file():
            return _of_file(folder.resolve(), revision)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that may not be read, an unknown ~user
        raise ConfigError(
            f"model is {short(model)}, which cannot be read: {getattr(error, 'strerror', None) or error}; "
            f"{_valid(task)}"
        ) from error
    hub_id, variant = parse(model) or (model, "")
    return ChosenModel(model, source=_source(hub_id, revision or MAIN, task), variant=variant)


def _of_folder(folder: Path, revision: str | None) -> ChosenModel:
    """A folder with weights, or one that stands for a model on the Hub."""
    if revision is not None:
        raise ConfigError(f"revision is {revision!r}; valid: auto, since a folder has no revisions")
    try:
        check_folder(folder)
        source = read_source(folder)
    except ModelFolderError as error:
        raise ConfigError(f"model: {error}") from error
    if source is None:
        return ChosenModel(_name(folder), folder=folder)
    if isinstance(source, PackageSource):
        return ChosenModel(Path(source.file).stem, source=source)
    return ChosenModel(
        f"{source.hub_id}:{source.file}" if source.file else source.hub_id, source=source, variant=source.file
    )


def _of_file(file: Path, revision: str | None) -> ChosenModel:
    """A GGUF file."""
    if revision is not None:
        raise ConfigError(f"revision is {revision!r}; valid: auto, since a file has no revisions")
    try:
        read_gguf(file)
    except ModelFolderError as error:
        raise ConfigError(f"model: {error}") from error
    return ChosenModel(file.stem, file=file)


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
    """The valid models of a task, for messages."""
    names = ", ".join(model.name for model in catalog()[task].models)
    return (
        f"valid for {task}: {names}, the id of a model on the Hugging Face Hub (owner/name, of GGUF also "
        "owner/name:Q4_K_M), or an existing folder or .gguf file"
    )
