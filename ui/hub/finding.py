"""What the page says of models on the Hub, and what it asks the Hub about one of them. No Streamlit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks import TASKS
from tasks.base import ModelFolderError
from tasks.hub.failures import HubUnreachableError
from tasks.hub.names import Source
from tasks.hub.repository import DownloadPlan, in_bytes, look_up
from tasks.hub.search import Offer, in_local_cache, search
from tasks.registry import RegisteredVersion

MAIN = "main"


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        asked: the task and the words.
        failure: why the Hub could not be asked; the offers are then those of the local cache.
    """

    asked: tuple[str, str]
    offers: list[Offer] = field(default_factory=list)
    failure: str = ""


def find(task: str, words: str, token: str | None) -> Found:
    """Search the Hub; where it cannot be reached, its cache."""
    try:
        return Found((task, words), search(task, words, token=token))
    except HubUnreachableError as error:
        return Found((task, words), in_local_cache(task, words), str(error))
    except ModelFolderError as error:
        return Found((task, words), failure=str(error))


def quantizations(task: str, hub_id: str, token: str | None) -> DownloadPlan:
    """What the Hub says of a model, with the GGUF files to choose from. Raises ModelFolderError."""
    return look_up(Source(hub_id, MAIN), gguf=TASKS[task].of_language_models, token=token)


def facts(offer: Offer, room: int) -> str:
    """What is known of a model, in a line. Args: room: bytes of memory that there are."""
    known = [
        f"{offer.parameters / 1e6:,.0f} M parameters" if offer.parameters else "",
        f"about {in_bytes(offer.bytes)} to download" if offer.bytes and offer.downloads is not None else "",
        f"{in_bytes(offer.bytes)} in the local cache" if offer.bytes and offer.downloads is None else "",
        f"{in_bytes(offer.memory_bytes)} of memory; there are {in_bytes(room)}" if offer.memory_bytes else "",
        f"{offer.downloads:,} downloads" if offer.downloads is not None else "",
        f"license {offer.license}" if offer.license else "license not named",
    ]
    return " · ".join(fact for fact in known if fact)


def fits(offer: Offer, room: int) -> bool:
    return offer.memory_bytes is None or offer.memory_bytes <= room


def ready_version(values: Mapping[str, str], versions: Iterable[RegisteredVersion]) -> RegisteredVersion | None:
    """The newest version that a registration with these parameters has made; None if there is none."""
    task, model = values.get("task"), values.get("model", "")
    made = [
        one
        for one in versions
        if one.task == task and model and (one.model == model or one.model.endswith(f"/{model}"))
    ]
    return max(made, key=lambda one: one.version, default=None)
