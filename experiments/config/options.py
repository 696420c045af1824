"""Fields of configurations with help and bounds, their checks, and the errors that speak to the person."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any


class UserError(Exception):
    """Something that a person gave cannot work. The text says what was wrong and what is valid."""


class ConfigError(UserError):
    """A parameter is out of its bounds, or parameters contradict each other."""


class RunUnavailableError(ConfigError):
    """A run is to be left as it is: it is finished, another process has it, or its store does not answer now."""


class TrainingError(Exception):
    """A run that had started cannot go on. The text says why; the run is marked FAILED."""


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with what the command line, the checks and the UI need to know of it."""
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {"help": help, "choices": choices, **{k: v for k, v in bounds.items() if v is not None}}
    return dataclasses.field(default=default, metadata=metadata)


def valid_range(metadata: Any) -> str:
    """The bounds of a field in words, such as "at least 1 and at most 10"; empty where it has none."""
    words = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
    return " and ".join(f"{text} {metadata[key]:g}" for key, text in words.items() if key in metadata)


def check(config: Any) -> None:
    """Raise ConfigError for the first field of a configuration dataclass that is not a choice or out of its bounds."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None and field.default is None:
            continue
        choices = field.metadata.get("choices")
        if choices and value not in choices:
            raise ConfigError(f"{field.name} is {value!r}; {_hint(value, choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_number(field.name, value, field.metadata)


def _hint(value: Any, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}valid: {', '.join(choices)}"


def _check_number(name: str, value: float, bounds: Any) -> None:
    inside = (
        math.isfinite(value)
        and value >= bounds.get("at_least", -math.inf)
        and value > bounds.get("above", -math.inf)
        and value <= bounds.get("at_most", math.inf)
        and value < bounds.get("below", math.inf)
    )
    if not inside:
        raise ConfigError(f"{name} is {value}; valid: {valid_range(bounds) or 'a finite number'}")


def names_in(
    field: str, text: str, valid: tuple[str, ...], groups: Mapping[str, tuple[str, ...]], automatic: str = "auto"
) -> list[str]:
    """The names in a comma-separated list, groups written out, each once, in the order given.

    Args: automatic: what `auto` stands for, itself such a list.

    Raises ConfigError for a name that is neither in `valid` nor in `groups`, and when there is none at all.
    """
    words = ",".join(automatic if part.strip() == "auto" else part for part in text.split(",")).split(",")
    names: dict[str, None] = {}
    for name in (word.strip() for word in words):
        names |= dict.fromkeys(groups.get(name, (name,) if name else ()))
    if not names:
        raise ConfigError(f"{field} is {text!r}, which names nothing; valid: {', '.join((*groups, *valid))}")
    for name in names:
        if name not in valid:
            close = difflib.get_close_matches(name, (*valid, *groups), n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"{field} names {name!r}; {hint}valid: {', '.join((*groups, *valid))}")
    return list(names)
