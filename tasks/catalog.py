"""The catalog of pretrained models: which models each task offers, of the Hub or in a package, and what is known.

`catalog.yaml` holds the facts; what was not looked up is `unverified` there and None here. Knows no torch and no
MLflow, so that forms can list models at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks import PRETRAINED_TASKS
from tasks.hub.package import PackageSource

CATALOG_FILE = Path(__file__).with_name("catalog.yaml")
PROJECT_ROOT = Path(__file__).resolve().parent.parent
UNVERIFIED = "unverified"
BYTES_A_PARAMETER = 4  # on a CPU weights are float32; on a GPU half of that
KNOWN_FIELDS = ("license", "disk_mb", "parameters_m", "source")
HUB_FIELDS = ("hub_id", "revision", *KNOWN_FIELDS)  # all required
PACKAGE_FIELDS = ("package", "version", "file", "sha256", "name", *KNOWN_FIELDS)  # all required
PACKAGED = {
    "package": r"[A-Za-z0-9][\w.-]*",
    "version": r"\d[\w.]*",
    "file": r"[A-Za-z0-9][\w./-]*\.gguf",
    "sha256": r"[0-9a-f]{64}",
}
OPTIONAL_FIELDS = ("default", "note", "system")
TASK_FIELDS = {"starter", "starter_note", "models"}


class CatalogError(Exception):
    """The catalog's file is damaged. The text names the task, the field and what is valid."""


@dataclass(frozen=True)
class CatalogModel:
    """A model that a task offers, of the Hub or in a package of the package index.

    Attributes:
        model_id: the id on the Hub, or the name of a model in a package.
        revision: the commit, tag or branch to fetch; `main` is whatever is newest. Empty for a package.
        package: where its file is; None for a model of the Hub.
        license: as the model's page names it; None: not looked up.
        disk_bytes: of the files that are fetched; None: unknown.
        parameters: how many; None: unknown.
        source: where the facts were looked up.
        note: what it is good for, and what to know before choosing it.
        system: the system prompt of a chat model, for conversations that have none.
    """

    model_id: str
    revision: str
    license: str | None
    disk_bytes: int | None
    parameters: int | None
    source: str | None
    default: bool
    note: str
    system: str
    package: PackageSource | None = None

    @property
    def name(self) -> str:
        """The name in the catalog: the Hub id without its owner."""
        return self.model_id.split("/")[-1]

    @property
    def memory_bytes(self) -> int | None:
        """What the weights take in memory as float32, as on a CPU; None: unknown. Half of that on a GPU.

        Weights in a package are quantized and stay so.
        """
        if self.package is not None:
            return self.disk_bytes
        return None if self.parameters is None else self.parameters * BYTES_A_PARAMETER

    def size(self) -> str:
        """Its size as far as it is known, for display."""
        known = [
            f"{self.parameters / 1e6:,.0f} M parameters" if self.parameters else "",
            f"{self.disk_bytes / 1e9:.2f} GB {'installed' if self.package else 'to download'}"
            if self.disk_bytes
            else "",
            f"{self.memory_bytes / 1e9:.2f} GB of memory on a CPU" if self.memory_bytes else "",
        ]
        return ", ".join(filter(None, known)) or "size not looked up"


@dataclass(frozen=True)
class TaskCatalog:
    """The models of one task, the default first, and the folder of its starter model if it has one.

    Attributes:
        starter_note: what the starter is good for; empty without one.
    """

    models: tuple[CatalogModel, ...]
    starter: Path | None
    starter_note: str = ""

    @property
    def default(self) -> CatalogModel:
        """The one that the Hub offers first."""
        return self.models[0]

    @property
    def starter_here(self) -> Path | None:
        """The starter's folder if it is there; an installation may go without."""
        return self.starter if self.starter is not None and self.starter.is_dir() else None

    @property
    def packaged(self) -> CatalogModel | None:
        """The model in a package, if the task has one: the first that a new user meets, where it is installed."""
        return next((model for model in self.models if model.package is not None), None)

    @property
    def ready_offline(self) -> bool:
        """Whether a model of it is on this machine from the start."""
        packaged = self.packaged
        return self.starter_here is not None or bool(packaged and packaged.package and packaged.package.find())

    def good_for(self, model: str) -> str:
        """What a model is good for, in a sentence, by the name that its results have; empty if unknown."""
        if self.starter is not None and model == f"starter-{self.starter.name}":
            return self.starter_note
        entry = self.find(model)
        return entry.note if entry else ""

    def find(self, name: str) -> CatalogModel | None:
        """A model by its name or Hub id."""
        return next((model for model in self.models if name in (model.name, model.model_id)), None)


@cache
def catalog() -> Mapping[str, TaskCatalog]:
    """The catalog of every pretrained task, read once."""
    return read_catalog(CATALOG_FILE)


def read_catalog(path: Path) -> dict[str, TaskCatalog]:
    """The catalog in a file. Raises CatalogError, in one line, for anything that is not as it should be."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CatalogError(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict) or set(content) != set(PRETRAINED_TASKS):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CatalogError(f"{path.name} has {found}; valid: an entry each for {', '.join(PRETRAINED_TASKS)}")
    return {task: _task(task, content[task]) for task in PRETRAINED_TASKS}


def _task(task: str, entry: Any) -> TaskCatalog:
    if not isinstance(entry, dict) or set(entry) != TASK_FIELDS or not isinstance(entry["models"], list):
        raise CatalogError(
            f"{task} is not as it should be; valid: starter (a folder or null), starter_note and models (a list)"
        )
    models = [_model(f"{task}, model {number}", given) for number, given in enumerate(entry["models"], start=1)]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CatalogError(f"{task} has two models called {twice}; valid: each name once")
    defaults = sum(model.default for model in models)
    if defaults != 1:
        raise CatalogError(f"{task} has {defaults} models with default: true; valid: one")
    note = "" if entry["starter_note"] is None else _text(task, "starter_note", entry["starter_note"])
    return TaskCatalog(
        tuple(sorted(models, key=lambda model: not model.default)), _starter(task, entry["starter"]), note
    )


def _starter(task: str, value: Any) -> Path | None:
    if value is None:
        return None
    folder = (PROJECT_ROOT / value).resolve() if isinstance(value, str) and value else None
    if folder is None or not folder.is_relative_to(PROJECT_ROOT):
        raise CatalogError(f"{task}: starter is {value!r}; valid: a folder within the project, or null")
    return folder


def _model(place: str, entry: Any) -> CatalogModel:
    if not isinstance(entry, dict):
        raise CatalogError(f"{place} is {entry!r}; valid: fields {', '.join(HUB_FIELDS)}")
    fields = PACKAGE_FIELDS if "package" in entry else HUB_FIELDS
    for name in fields:
        if name not in entry:
            raise CatalogError(f"{place} has no {name}; what was not looked up is written {UNVERIFIED}")
    for name in entry:
        if name not in fields + OPTIONAL_FIELDS:
            raise CatalogError(f"{place}: unknown field {name}; valid: {', '.join(fields + OPTIONAL_FIELDS)}")
    megabytes, millions = (_number(place, name, entry[name]) for name in ("disk_mb", "parameters_m"))
    if not isinstance(entry.get("default", False), bool):
        raise CatalogError(f"{place}: default is {entry['default']!r}; valid: true or false")
    if "package" in entry:
        package = PackageSource(**{field: _text(place, field, entry[field], form) for field, form in PACKAGED.items()})
        model_id, revision = _text(place, "name", entry["name"], r"[A-Za-z0-9][\w.-]*"), ""
    else:
        package = None
        model_id = _text(place, "hub_id", entry["hub_id"], r"[A-Za-z0-9][\w.-]*/[\w.-]+")
        revision = _text(place, "revision", entry["revision"], r"[A-Za-z0-9][\w./-]*")
    return CatalogModel(
        model_id=model_id,
        revision=revision,
        license=_known(_text(place, "license", entry["license"])),
        disk_bytes=None if megabytes is None else round(megabytes * 1e6),
        parameters=None if millions is None else round(millions * 1e6),
        source=_known(_text(place, "source", entry["source"], rf"https://\S+|{UNVERIFIED}")),
        default=entry.get("default", False),
        note=_text(place, "note", entry.get("note", "none")).removeprefix("none"),
        system=_text(place, "system", entry.get("system", "none")).removeprefix("none"),
        package=package,
    )


def _text(place: str, name: str, value: Any, pattern: str = r".*\S.*") -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value) or ".." in value:
        raise CatalogError(f"{place}: {name} is {value!r}; valid: text that matches {pattern}")
    return value


def _known(value: str) -> str | None:
    return None if value == UNVERIFIED else value


def _number(place: str, name: str, value: Any) -> float | None:
    if value == UNVERIFIED:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e7:
        raise CatalogError(f"{place}: {name} is {value!r}; valid: a number above 0, or {UNVERIFIED}")
    return float(value)
