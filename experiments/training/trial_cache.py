"""The cache of speed trials: one small file for each combination of network, batch, hardware and library version."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.disk import write_whole


class Entry(BaseModel):
    """What a trial found: the setting that was taken, examples per second of those tried, why; and for what."""

    model_config = ConfigDict(strict=True, extra="forbid")

    facts: dict[str, Any]
    setting: str
    speeds: dict[str, float]
    note: str


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/project-dl`, by default under `~/.cache`. Raises OSError for a user without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "project-dl" / "speed"
    except RuntimeError as error:  # in a container, say
        raise FileNotFoundError(str(error)) from error


def read_entry(facts: Mapping[str, Any]) -> Entry | None:
    """The entry for these facts; None if there is none, or what is there is damaged or of something else."""
    try:
        entry = Entry.model_validate_json(_file(facts).read_bytes())
    except (OSError, ValidationError):
        return None
    return entry if entry.facts == _plain(facts) else None


def write_entry(facts: Mapping[str, Any], setting: str, speeds: Mapping[str, float], note: str) -> None:
    """Keep an entry. Where nothing can be written it is not kept: the next training tries again."""
    entry = Entry(facts=_plain(facts), setting=setting, speeds=dict(speeds), note=note)
    with contextlib.suppress(OSError):
        write_whole(_file(facts), entry.model_dump_json(indent=1).encode())


def _plain(facts: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(facts, sort_keys=True))


def _file(facts: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"{digest[:32]}.json"
