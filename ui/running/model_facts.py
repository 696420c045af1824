"""What people want to know of registered versions before they choose one, and choosing the champion. No Streamlit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from experiments.config import EVALUATED_TASKS
from tasks import registry
from tasks.catalog import CatalogModel
from tasks.hub.checks import GGUF
from tasks.hub.names import parse
from tasks.metrics import DECIDING
from tasks.registry import RegisteredVersion
from tasks.registry.scores import better, data_tags, metric_title, score
from tasks.runs import find_run, open_store, readable_errors
from tasks.runtime.loaded import GIGABYTE
from ui.services import mlflow_ui, run_link

# The metrics that decide who is champion: of models trained here, and of pretrained ones on the task's sample.
VALIDATED_BY, TESTED_BY, SAMPLED_BY = (
    tuple(f"{part}_{name}" for name in DECIDING) for part in ("val", "test", "sample")
)
LONGEST_ID = 96  # characters, on the Hub
UNKNOWN_LICENSES = ("", "unknown", "unverified", "none")


def by_name(versions: Iterable[RegisteredVersion]) -> dict[str, list[RegisteredVersion]]:
    """Versions by their registered model, its champion first, then the newest; models in the order of their tasks."""
    grouped: dict[str, list[RegisteredVersion]] = {}
    for one in sorted(versions, key=lambda one: (one.task, one.name, not one.champion, -one.version)):
        grouped.setdefault(one.name, []).append(one)
    return grouped


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
        f"{metric_title(name)} {value:.4f}"
        for name in (*VALIDATED_BY, *TESTED_BY, *SAMPLED_BY)
        if (value := as_number(tags.get(name, ""))) is not None
    ]
    parameters = as_number(tags.get("parameters", ""))
    license = version.license
    known = [
        *measured,
        f"{_count(parameters)} parameters" if parameters else "",
        f"{_size(version.memory_bytes)} of memory" if version.memory_bytes else "",
        f"license {license}" if license and license.lower() not in UNKNOWN_LICENSES else "",
        # A model that was trained here has none but its maker's.
        "license unknown" if "hub_id" in tags and license.lower() in UNKNOWN_LICENSES else "",
        f"registered {version.created:%Y-%m-%d %H:%M} UTC",
    ]
    return [fact for fact in known if fact]


def _count(number: float) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,.0f}"


def _size(number: int) -> str:
    return f"{number / GIGABYTE:.2f} GB" if number >= GIGABYTE / 10 else f"{number / 1e6:.1f} MB"


def reason_to_ask(version: RegisteredVersion, champion: RegisteredVersion | None) -> str:
    """Why the user should think again before making a version champion; empty if nothing is known against it."""
    if champion is None:
        return ""
    for metric in (*VALIDATED_BY, *SAMPLED_BY):
        new, present = score(version.tags, metric), score(champion.tags, metric)
        if better(metric, present, new):
            same = all(version.tags.get(tag) == champion.tags.get(tag) for tag in data_tags(metric))
            title = metric_title(metric)
            others = "" if same else ", on other data"
            return (
                f"{title[0].upper()}{title[1:]}: {version.key} has {new:.4f}, champion {champion.key} has {present:.4f}"
                f"{others}."
            )
    return ""


def champion_rule(task: str) -> str:
    """The rule by which a newly registered model becomes champion of its task."""
    if task in EVALUATED_TASKS:
        return "The first model becomes champion, after it only one that does better on the task's small sample."
    return "The first model becomes champion and stays, as this task has no metric; the page Models changes that."


def promote(version: RegisteredVersion) -> None:
    """Make a version champion. Raises ModelNotFoundError if it is gone, StoreUnreachableError."""
    with readable_errors():
        registry.find(version.key)
        registry.promote(version.name, version.version)


def run_metrics(version: RegisteredVersion) -> tuple[Mapping[str, float], str]:
    """The metrics of the run that registered a version, and where MLflow's UI shows it; empty if there is no such run.

    Raises StoreUnreachableError.
    """
    with readable_errors():
        run = find_run(open_store(), version.run_id) if version.run_id else None
    if run is None:
        return {}, ""
    metrics = {name: value for name, value in sorted(run.data.metrics.items()) if not name.startswith("system/")}
    return metrics, run_link(run.info.run_id, run.info.experiment_id)


def version_link(version: RegisteredVersion) -> str:
    """Where MLflow's own UI shows a version."""
    return f"{mlflow_ui()}/#/models/{quote(version.name, safe='')}/versions/{version.version}"


def registered_as(offer: CatalogModel, task: str, versions: Iterable[RegisteredVersion]) -> str:
    """The newest version of a model of the catalog, as name/version; empty if it is not registered."""
    keys = [one for one in versions if one.task == task and offer.model_id in (one.model, one.tags.get("hub_id"))]
    return max(keys, key=lambda one: one.version).key if keys else ""


def wrong_with(model: str) -> str:
    """What is wrong with a Hub id or a folder that the user typed; empty if it can be tried."""
    valid = "the id of a model on the Hugging Face Hub (owner/name), or a local folder or .gguf file"
    given = model.strip()
    if not given:
        return f"Model is empty; valid: {valid}"
    if not given.isprintable():
        return f"Model has invisible characters; valid: {valid}"
    try:
        path = Path(given).expanduser()
        hub_id = parse(given) is not None and len(given) <= LONGEST_ID
        if path.is_dir() or (path.suffix == GGUF and path.is_file()) or hub_id:
            return ""
    except (OSError, RuntimeError):  # a name too long, a home of an unknown user
        pass
    return f"Model is {given[:80]!r}, and there is no such folder; valid: {valid}"
