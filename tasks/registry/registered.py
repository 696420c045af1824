"""Find and load registered versions: `name` (its champion), `name@alias`, or `name/version`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks import open_task
from tasks.base import ModelFolderError, Task, short
from tasks.packaged import packaged_folder
from tasks.registry.champions import CHAMPION, all_versions
from tasks.runs import all_pages, is_absent, open_store, readable_errors
from tasks.runtime.loaded import Expected

PAGE = 200
REFERENCE = re.compile(r"(?P<name>[^/@]+)(?:/(?P<version>\d{1,9})|@(?P<alias>[\w.-]+))?")


class ModelNotFoundError(ValueError):
    """There is no such registered version. The text says what there is."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model of a task.

    Attributes:
        model: what its results say in their field `model`, such as `lenet5 on digits` or an id of the Hub.
        tags: what registering wrote: license, hub_id, revision, parameters, memory_bytes, metrics, data sets.
        source: where the registry says its files are, such as `models:/m-...`.
        run_id: the run that registered it; empty if none is known.
    """

    name: str
    version: int
    task: str
    model: str
    champion: bool
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime
    description: str
    run_id: str
    model_id: str
    source: str

    @property
    def key(self) -> str:
        """`name/version`: what a worker calls it, and `find` finds again."""
        return f"{self.name}/{self.version}"

    @property
    def license(self) -> str:
        """What its tags say of its license; empty where they say nothing."""
        return self.tags.get("license") or self.tags.get("licence", "")  # as versions before 0.2 spelled it

    @property
    def memory_bytes(self) -> int | None:
        """Bytes of its weights, where registering counted them."""
        counted = self.tags.get("memory_bytes", "")
        return int(counted) if counted.isdigit() else None

    @property
    def shared_weights(self) -> str:
        """Names the GGUF file outside the registry that versions may share, loaded once; empty without one."""
        if self.tags.get("packaged") != "false":
            return ""
        of_hub = [self.tags.get(name, "") for name in ("hub_id", "revision", "file")]
        return self.tags.get("package") or (" ".join(of_hub) if of_hub[-1] else "")


def versions(task: str | None = None) -> list[RegisteredVersion]:
    """All versions tagged with a task (with this one), champions first, then the newest; [] for an empty registry.

    Raises MlflowException or OSError where the registry cannot be reached.
    """
    client = open_store()
    found = all_versions(client, page_size=PAGE)
    champions = _champions(client) if found else {}
    described = [_describe(one, champions) for one in found if one.tags.get("task") and one.status == "READY"]
    wanted = [one for one in described if task in (None, one.task)]
    return sorted(wanted, key=lambda one: (not one.champion, -one.created.timestamp(), one.name, -one.version))


def find(reference: str) -> RegisteredVersion:
    """The version that a reference names: `name` or `name@champion`, another alias, or `name/version`.

    Raises ModelNotFoundError, which names the models that there are.
    """
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise ModelNotFoundError(f"model is {reference!r}; valid: name, name@alias or name/version")
    client = open_store()
    try:
        if match["version"]:
            found = client.get_model_version(match["name"], match["version"])
        else:
            found = client.get_model_version_by_alias(match["name"], match["alias"] or CHAMPION)
    except MlflowException as error:
        if not is_absent(error):
            raise
        names = sorted({one.name for one in versions()})
        there = f"registered: {', '.join(names)}" if names else "nothing is registered yet"
        named = reference if reference.isprintable() and len(reference) <= 60 else short(reference)
        raise ModelNotFoundError(f"there is no registered model {named}; {there}") from error
    champions = {found.name: str(found.version)} if CHAMPION in found.aliases else {}
    if not found.tags.get("task"):
        raise ModelNotFoundError(f"{reference} has no tag `task`: it was not registered by this project")
    return _describe(found, champions)


def load(reference: str, device: str = "auto") -> Task:
    """The loaded task of a version. Raises ModelNotFoundError, ModelFolderError or StoreUnreachableError.

    Its code is this checkout's; `mlflow.pyfunc.load_model` brings the code that the version was logged with.
    """
    with readable_errors():
        version = find(reference)
    task = open_task(model_folder(version), device)
    if task.name != version.task:
        raise ModelFolderError(f"{version.key} is tagged {version.task}, but its files are for {task.name}")
    task.load()
    return task


def expected(reference: str) -> Expected:
    """What is known of a version before it is loaded. Raises ModelNotFoundError or StoreUnreachableError."""
    with readable_errors():
        version = find(reference)
    return Expected(version.memory_bytes, version.shared_weights)


def model_folder(version: RegisteredVersion) -> Path:
    """The folder of a version's model on this machine, downloaded where the registry is elsewhere.

    Raises ModelFolderError if its files are gone.
    """
    try:
        place = Path(download_artifacts(f"models:/{version.name}/{version.version}"))
    except (MlflowException, OSError) as error:
        raise ModelFolderError(f"the files of {version.key} cannot be read: {error}") from error
    return packaged_folder(place, version.key)


def _champions(client: MlflowClient) -> dict[str, str]:
    """The version with the alias `champion` of every registered model (searching for versions leaves aliases out)."""
    models = all_pages(lambda token: client.search_registered_models(max_results=PAGE, page_token=token))
    return {model.name: str(model.aliases[CHAMPION]) for model in models if CHAMPION in model.aliases}


def _describe(version: ModelVersion, champions: Mapping[str, str]) -> RegisteredVersion:
    is_champion = champions.get(version.name) == str(version.version)
    return RegisteredVersion(
        name=version.name,
        version=int(version.version),
        task=version.tags["task"],
        model=version.tags.get("model") or version.tags.get("hub_id") or version.name,
        champion=is_champion,
        aliases=tuple(version.aliases),
        tags=dict(version.tags),
        created=datetime.fromtimestamp((version.creation_timestamp or 0) / 1000, UTC),
        description=version.description or "",
        run_id=version.run_id or "",
        model_id=version.model_id or "",
        source=version.source or "",
    )


def version_of_run(name: str, run_id: str) -> ModelVersion | None:
    """The version of `name` that a run registered, if it did."""
    escaped = name.replace("'", "")
    found = open_store().search_model_versions(f"name = '{escaped}' and run_id = '{run_id}'")
    return found[0] if found else None
