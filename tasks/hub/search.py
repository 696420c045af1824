"""Finding models on the Hugging Face Hub that can run here; and in the Hub's cache, where it cannot be reached."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import TASKS
from tasks.base import ModelFolderError
from tasks.deadline import within
from tasks.hub.architectures import CONVERSATIONAL, classes, runs_here
from tasks.hub.checks import GGUF
from tasks.hub.failures import LIMIT_S, HubUnreachableError, hub_error, quiet_client
from tasks.hub.quantization import BITS, default_name
from tasks.hub.repository import BYTES_A_PARAMETER, SAFETENSORS, license_of
from tasks.json_files import read_json

LIMIT = 20
LOOKED_AT = 5  # models for each that is shown: many cannot run here
FIELDS = [
    "cardData",
    "config",
    "downloads",
    "gated",
    "gguf",
    "library_name",
    "pipeline_tag",
    "private",
    "safetensors",
    "tags",
]
TYPE_BYTES = {"F64": 8, "F32": 4, "I64": 8, "I32": 4, "BF16": 2, "F16": 2, "I16": 2}  # all others: 1


@dataclass(frozen=True)
class Offer:
    """A model that can run here.

    Attributes:
        kind: `GGUF` or `safetensors`.
        bytes: to download, about; None: the Hub does not say.
        memory_bytes: of its weights on a CPU, about.
        downloads: in the last 30 days; None: not known.
        license: empty if its page names none.
        gated: whether its terms have to be accepted first.
    """

    hub_id: str
    kind: str
    parameters: int | None
    bytes: int | None
    memory_bytes: int | None
    downloads: int | None
    license: str
    gated: bool


def search(task: str, words: str, limit: int = LIMIT, token: str | None = None) -> list[Offer]:
    """Models of the Hub for a task whose ids contain all words, those that are downloaded most first.

    Args:
        token: of the Hub; None: that of HF_TOKEN or `hf auth login`.

    Raises HubUnreachableError, and ModelFolderError for what the Hub refuses, each in one line.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import get_session

    api, tag = HfApi(token=token), TASKS[task].pipeline_tag
    of_chats = [CONVERSATIONAL] if task == "chatbot" else []
    filters = [[tag, "safetensors", *of_chats]]
    if TASKS[task].of_language_models:
        filters.append(["gguf", *of_chats])  # of which few have a pipeline tag

    def ask() -> list[Any]:
        get_session().head(constants.ENDPOINT, timeout=LIMIT_S / 4)  # at once, where the list is asked for five times
        found = {}
        for one in filters:
            listed = api.list_models(
                search=words or None,
                filter=one,
                sort="downloads",
                limit=limit * LOOKED_AT,
                expand=FIELDS,  # type: ignore[arg-type]
            )
            found.update({info.id: info for info in listed})
        return list(found.values())

    try:
        with quiet_client():
            infos = within(LIMIT_S, ask)
    except Exception as error:  # the Hub's client passes on errors of several libraries
        failure = hub_error(error, "the list of models")
        if isinstance(failure, HubUnreachableError):
            raise HubUnreachableError("the Hub cannot be reached, or does not answer") from error
        raise failure from error
    offers = [_offer(task, info) for info in infos if runs_here(task, info)]
    return sorted(offers, key=lambda offer: -(offer.downloads or 0))[:limit]


def _offer(task: str, info: Any) -> Offer:
    gguf = info.gguf if TASKS[task].of_language_models else None
    if gguf:
        parameters = gguf.get("total")
        size = round(parameters * BITS[default_name(parameters)] / 8) if parameters else None
        memory = size
    else:
        counts = info.safetensors.parameters if info.safetensors else {}
        parameters = sum(counts.values()) or None
        size = sum(count * TYPE_BYTES.get(kind, 1) for kind, count in counts.items()) or None
        memory = parameters * BYTES_A_PARAMETER if parameters else None
    return Offer(
        info.id,
        "GGUF" if gguf else "safetensors",
        parameters,
        size,
        memory,
        info.downloads,
        license_of(info) or _tagged(info.tags or (), "license:"),
        bool(info.gated),
    )


def _tagged(tags: Iterable[str], prefix: str) -> str:
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), "")


def in_local_cache(task: str, words: str = "") -> list[Offer]:
    """Models of the Hub's cache that the task can load and whose ids contain all words, the largest first."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError, OSError):
        return []
    found = []
    for one in repositories:
        files = {file.file_name: file.file_path for revision in one.revisions for file in revision.files}
        kind = _kind(task, files)
        if kind and all(word in one.repo_id.lower() for word in words.lower().split()):
            found.append(Offer(one.repo_id, kind, None, one.size_on_disk, None, None, "", False))
    return sorted(found, key=lambda offer: -(offer.bytes or 0))


def _kind(task: str, files: Mapping[str, Path]) -> str:
    """What of a cached model the task can load: GGUF, safetensors; empty for nothing."""
    if TASKS[task].of_language_models and any(name.endswith(GGUF) for name in files):
        return "GGUF"
    if not any(name.endswith(SAFETENSORS) for name in files):
        return ""
    if task == "image-generation":
        return "safetensors" if "model_index.json" in files else ""
    try:
        config = read_json(files["config.json"])
        return "safetensors" if classes(task).intersection(config.get("architectures") or ()) else ""
    except (KeyError, OSError, ValueError, AttributeError):
        return ""


def said_when_unreachable(error: ModelFolderError, offers: list[Offer]) -> str:
    """The one-line message for when the Hub cannot be reached and these are in the cache."""
    if not offers:
        return f"{error}; the local cache has no model for this task either"
    return f"{error}; in the local cache: {', '.join(offer.hub_id for offer in offers)}"
