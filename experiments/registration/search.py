"""The table of `register --search`: models of the Hub that can run here."""

from collections.abc import Sequence

from experiments.config import ConfigError, RegisterConfig
from experiments.registration.report import aligned
from tasks.base import ModelFolderError
from tasks.hub.failures import HubUnreachableError
from tasks.hub.memory import memory_there_is
from tasks.hub.repository import in_bytes
from tasks.hub.search import Offer, in_local_cache, said_when_unreachable, search

HEADER = ("model", "kind", "parameters", "download", "memory", "downloads", "license", "")


def print_search(config: RegisterConfig) -> list[Offer]:
    """Print the models of the Hub whose ids contain the words, and how to register one of them.

    Raises ConfigError, in one line, if there is none, and where the Hub cannot be asked.
    """
    if config.task == "all":
        raise ConfigError("search is for a single task; valid: task and search together")
    try:
        offers = search(config.task, config.search, config.limit)
    except HubUnreachableError as error:
        raise ConfigError(said_when_unreachable(error, in_local_cache(config.task, config.search))) from error
    except ModelFolderError as error:
        raise ConfigError(str(error)) from error
    if not offers:
        raise ConfigError(f"search is {config.search!r}, which finds no model for {config.task} that can run here")
    print(table(offers))
    print(f"\nregister one: python -m experiments.register --task {config.task} --model {offers[0].hub_id}")
    if any(offer.kind == "GGUF" for offer in offers):
        print("of GGUF, a quantization may follow: --model owner/name:Q4_K_M")
    return offers


def table(offers: Sequence[Offer]) -> str:
    """The models for a terminal, a line each."""
    room = memory_there_is()
    return aligned([HEADER, *(cells(offer, room) for offer in offers)])


def cells(offer: Offer, room: int) -> tuple[str, ...]:
    """What the table says of a model. Args: room: bytes of memory that there are."""
    too_large = offer.memory_bytes is not None and offer.memory_bytes > room
    remarks = ["gated"] if offer.gated else []
    if too_large:
        remarks.append(f"does not fit into {in_bytes(room)} of memory")
    return (
        offer.hub_id,
        offer.kind,
        f"{offer.parameters / 1e6:,.0f} M" if offer.parameters else "-",
        in_bytes(offer.bytes) if offer.bytes else "-",
        in_bytes(offer.memory_bytes) if offer.memory_bytes else "-",
        f"{offer.downloads:,}" if offer.downloads is not None else "-",
        offer.license or "-",
        ", ".join(remarks),
    )
