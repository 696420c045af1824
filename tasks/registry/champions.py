"""Which version of a registered model is its champion: the one that the UI and the serve commands use.

Several programs may promote at once through a tracking server, which offers no lock. They agree without one:

- A version that contends is tagged before anything is decided: `promotion` = `open since 7`, where 7 was the newest
  version at that moment. Version numbers order events; clocks of several machines cannot. After the decision the tag
  says `closed since 7`.
- A promoter reads all versions, then the alias, sets the alias to the best candidate, and reads again, until there is
  nothing left to set. Only then does it close.
- Candidates are the champion and every version that has contended since the oldest that is still open. So a promoter
  that acted on an outdated reading sees, when it reads again, whatever contended in between; and while it has not, it
  is open, so that everybody else sees that too. If it dies, the next promoter finishes what it left, and closes for it.
- What contended earlier is decided. A champion chosen manually (here or in MLflow's own UI), however bad, is therefore
  replaced only by a version that contends later and beats it; none that lost its place to it returns automatically.

Ties keep the champion; of several new versions that are equally good the earliest wins.
"""

import math
import re
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.registry.scores import better, metric_title, same_data, score
from tasks.runs import all_pages, is_absent, open_store

CHAMPION = "champion"
PROMOTION = "promotion"
NOTE = re.compile(r"(?P<state>open|closed) since (?P<since>\d{1,9})(?: with (?P<metric>\w+) (?P<value>\S+))?")
# A promotion takes seconds. One of a version older than the own by this much is regarded as dead.
OVERDUE_MS = 10 * 60 * 1000


class _Entry(NamedTuple):
    """A version that contends, or has contended: since when, and with which value of which metric."""

    version: ModelVersion
    open: bool
    since: int
    metric: str
    value: float

    @property
    def number(self) -> str:
        return str(self.version.version)


def champion(name: str) -> ModelVersion | None:
    """The version with the alias `champion`, or None. Raises what reaching the registry raises."""
    return _champion(open_store(), name)


def all_versions(client: MlflowClient, query: str = "", page_size: int = 200) -> list[ModelVersion]:
    """Every version that a query of MLflow's finds; without one, every version of every model."""
    order = ["version_number ASC", "name ASC"]
    return all_pages(lambda token: client.search_model_versions(query, page_size, order, token))


def promote(name: str, version: str | int) -> None:
    """Make a version the champion."""
    MlflowClient().set_registered_model_alias(name, CHAMPION, str(version))


def promote_if_better(name: str, version: str | int, metric: str = "", value: float | None = None) -> str:
    """Make a version champion if it is the first or beats the present one; returns what was decided, and why.

    Args:
        metric: tag with the metric that decides, compared on the same data only; empty where there is none.
        value: counts instead of that tag until the version is champion, such as the mean over several seeds.

    Raises what reaching the registry raises; the same call then continues, or the next promotion does.
    """
    client = MlflowClient()
    before = _champion(client, name)
    _contend(client, name, str(version), metric, value)
    while True:
        # In this order: what a version that is closed did to the alias is then seen.
        entries = _entries(client, name)
        present = _champion(client, name)
        mine = next((entry for entry in entries if entry.number == str(version)), None)
        if mine is None:  # its tag was changed meanwhile
            _contend(client, name, str(version), metric, value)
            continue
        best = _best(entries, mine, present)
        if present is not None and best == str(present.version):
            break
        _set(client, name, best, new=present is None)
    _close(client, name, mine, entries)
    return _decision(name, mine, before, present)


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def _versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    escaped = name.replace("'", "")
    return all_versions(client, f"name = '{escaped}'")


def _contend(client: MlflowClient, name: str, own: str, metric: str, value: float | None) -> None:
    """Tag a version as contending since the newest version; since earlier, if an earlier try of it has not closed."""
    tags = client.get_model_version(name, own).tags
    counts = f" with {metric} {score(tags, metric) if value is None else value!r}" if metric else ""
    note = NOTE.fullmatch(tags.get(PROMOTION, ""))
    if note and note["state"] == "open":
        client.set_model_version_tag(name, own, PROMOTION, f"open since {note['since']}{counts}")
        return
    since = 0
    # Until no version is newer than the tag: a promoter whose version is newer has then seen the tag.
    while since < (newest := max(int(one.version) for one in _versions(client, name))):
        since = newest
        client.set_model_version_tag(name, own, PROMOTION, f"open since {since}{counts}")


def _entries(client: MlflowClient, name: str) -> list[_Entry]:
    """What contends or has contended, the earliest version first."""
    found = []
    for version in _versions(client, name):
        note = NOTE.fullmatch(version.tags.get(PROMOTION, ""))
        if note:
            value = score({"": note["value"] or ""}, "")
            found.append(_Entry(version, note["state"] == "open", int(note["since"]), note["metric"] or "", value))
    return found


def _best(entries: list[_Entry], mine: _Entry, present: ModelVersion | None) -> str:
    """The number of the version that should be champion; the top of this file says why."""
    since = min(entry.since for entry in entries if entry.open or entry is mine)
    candidates = [entry for entry in entries if entry.since >= since]
    if present is None:
        first = min(candidates, key=lambda entry: entry.since)
        best, tags = first.number, first.version.tags
        highest = first.value if first.metric == mine.metric else math.nan
    else:
        best, tags, highest = str(present.version), present.tags, score(present.tags, mine.metric)
        # It may have contended with another value than its own, such as a mean over seeds: the better of both counts,
        # or two candidates would take the place from each other forever.
        for entry in entries:
            if entry.number == best and entry.metric == mine.metric and better(mine.metric, entry.value, highest):
                highest = entry.value
    for entry in candidates:
        comparable = entry.metric == mine.metric and same_data(entry.version.tags, tags, mine.metric)
        if comparable and entry.number != best and better(mine.metric, entry.value, highest):
            best, highest = entry.number, entry.value
    return best


def _set(client: MlflowClient, name: str, version: str, new: bool) -> None:
    try:
        client.set_registered_model_alias(name, CHAMPION, version)
    except MlflowException:
        # When two set an alias that was not there, both insert a row, and the database refuses one of them.
        if not new or _champion(client, name) is None:
            raise


def _close(client: MlflowClient, name: str, mine: _Entry, entries: list[_Entry]) -> None:
    """Tag the own version as decided, and those whose promoters must have died."""
    for entry in entries:
        overdue = mine.version.creation_timestamp - entry.version.creation_timestamp > OVERDUE_MS
        if entry.open and (entry is mine or overdue):
            closed = entry.version.tags[PROMOTION].replace("open", "closed", 1)
            client.set_model_version_tag(name, entry.number, PROMOTION, closed)


def _decision(name: str, mine: _Entry, before: ModelVersion | None, now: ModelVersion) -> str:
    """What became of a version that contended, for the user."""
    this, title, own = f"{name} version {mine.number}", metric_title(mine.metric), f"{mine.value:.4f}"
    if str(now.version) == mine.number:
        if before is None:
            return f"{this} is the first and becomes champion"
        if str(before.version) == mine.number:
            return f"{this} is champion"
        had = score(before.tags, mine.metric)
        return f"{this} becomes champion: {title} {own}, version {before.version} had {had:.4f}"
    stays = f"champion {now.version} of {name} stays"
    if math.isnan(mine.value):
        return f"{stays}: version {mine.number} has no score to compare it by"
    present = score(now.tags, mine.metric)
    if math.isnan(present):
        return f"{stays}: it has no {title}, version {mine.number} has {own}"
    if not same_data(now.tags, mine.version.tags, mine.metric):
        return f"{stays}: version {mine.number} was measured on other data"
    return f"{stays}: its {title} is {present:.4f}, version {mine.number} has {own}"
