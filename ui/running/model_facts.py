"""What people want to know of registered versions before they choose one, and choosing the champion. No Streamlit."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from tasks import registry
from tasks.catalog import CatalogModel
from tasks.registry import RegisteredVersion
from tasks.runs import find_run, open_store, store_in_words
from tasks.runtime.worker import GIGABYTE
from ui.services import mlflow_ui, run_link

# The metrics that trained models are chosen by, in the order in which they count; see experiments.training.
CHOSEN_BY = ("val_accuracy", "val_sequence_accuracy")
DATA = ("data_sha256", "split_sha256")
UNKNOWN_LICENCES = ("", "unknown", "unverified", "none")
HUB_ID = r"[A-Za-z0-9][\w.-]*/[\w.-]+"


def by_name(versions: Iterable[RegisteredVersion]) -> dict[str, list[RegisteredVersion]]:
    """Versions by their registered model, its champion first, then the newest; models in the order of their tasks."""
    grouped: dict[str, list[RegisteredVersion]] = {}
    for one in sorted(versions, key=lambda one: (one.task, one.name, not one.champion, -one.version)):
        grouped.setdefault(one.name, []).append(one)
    return grouped


def accuracy(version: RegisteredVersion) -> float | None:
    """Its validation accuracy, where registering noted one."""
    for name in CHOSEN_BY:
        if name in version.tags:
            return as_number(version.tags[name])
    return None


def as_number(text: str) -> float | None:
    """A tag as a number; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def facts(version: RegisteredVersion) -> list[str]:
    """What is known of a version, a few words each."""
    tags = version.tags
    measured = [
        f"{'test' if name.startswith('test') else 'validation'} accuracy {value:.4f}"
        for name in (*CHOSEN_BY, *(one.replace("val_", "test_") for one in CHOSEN_BY))
        if (value := as_number(tags.get(name, ""))) is not None
    ]
    parameters = as_number(tags.get("parameters", ""))
    licence = tags.get("licence", "")
    known = [
        *measured,
        f"{_count(parameters)} parameters" if parameters else "",
        f"{_size(version.memory_bytes)} of memory" if version.memory_bytes else "",
        f"licence {licence}" if licence and licence.lower() not in UNKNOWN_LICENCES else "",
        # A model that was trained here has none but its maker's.
        "licence unknown" if "hub_id" in tags and licence.lower() in UNKNOWN_LICENCES else "",
        f"registered {version.created:%Y-%m-%d %H:%M} UTC",
    ]
    return [fact for fact in known if fact]


def _count(number: float) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,.0f}"


def _size(number: int) -> str:
    return f"{number / GIGABYTE:.2f} GB" if number >= GIGABYTE / 10 else f"{number / 1e6:.1f} MB"


def reason_to_ask(version: RegisteredVersion, champion: RegisteredVersion | None) -> str:
    """Why a person should think again before making a version champion; empty if nothing is known against it."""
    if champion is None:
        return ""
    new, present = accuracy(version), accuracy(champion)
    if new is None or present is None or new >= present:
        return ""
    same = all(version.tags.get(tag) == champion.tags.get(tag) for tag in DATA)
    return (
        f"{version.key} has a validation accuracy of {new:.4f}, champion {champion.key} has {present:.4f}"
        f"{'' if same else ', on other validation data'}."
    )


def promote(version: RegisteredVersion) -> None:
    """Make a version champion. Raises ModelNotFoundError if it is gone, StoreUnreachableError."""
    with store_in_words():
        registry.find(version.key)
        registry.promote(version.name, version.version)


def run_metrics(version: RegisteredVersion) -> tuple[Mapping[str, float], str]:
    """The metrics of the run that registered a version, and where MLflow's UI shows it; empty if there is no such run.

    Raises StoreUnreachableError.
    """
    with store_in_words():
        run = find_run(open_store(), version.run_id) if version.run_id else None
    if run is None:
        return {}, ""
    metrics = {name: value for name, value in sorted(run.data.metrics.items()) if not name.startswith("system/")}
    return metrics, run_link(run.info.run_id, run.info.experiment_id)


def version_link(version: RegisteredVersion) -> str:
    """Where MLflow's own UI shows a version."""
    return f"{mlflow_ui()}/#/models/{quote(version.name, safe='')}/versions/{version.version}"


def registered_as(offer: CatalogModel, task: str, versions: Iterable[RegisteredVersion]) -> str:
    """The newest version of a model of the catalogue, as name/version; empty if it is not registered."""
    keys = [one for one in versions if one.task == task and offer.hub_id in (one.model, one.tags.get("hub_id"))]
    return max(keys, key=lambda one: one.version).key if keys else ""


def wrong_with(model: str) -> str:
    """What is wrong with a Hub id or a folder that a person typed, in words; empty if it can be tried."""
    valid = "the id of a model on the Hugging Face Hub (owner/name), or a folder of this machine"
    given = model.strip()
    if not given:
        return f"Model is empty; valid: {valid}"
    if not given.isprintable():
        return f"Model has characters that are not seen; valid: {valid}"
    try:
        if Path(given).expanduser().is_dir() or (re.fullmatch(HUB_ID, given, re.ASCII) and ".." not in given):
            return ""
    except (OSError, RuntimeError):  # a name too long, a home that nobody has
        pass
    return f"Model is {given[:80]!r}, and there is no such folder; valid: {valid}"
