"""The base of configurations, and the errors that speak to the user."""

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import ConfigDict, ValidationError, model_validator

from experiments.config.names import is_own
from tasks.parameters import Parameters, did_you_mean, explain, short


class UserError(Exception):
    """Something that the user gave cannot work. The text says what was wrong and what is valid."""


class ConfigError(UserError):
    """A parameter is out of its bounds, or parameters contradict each other."""


class RunUnavailableError(ConfigError):
    """A run is to be left as it is: it is finished, another process has it, or its store does not answer now."""


class TrainingError(Exception):
    """A run that had started cannot continue. The text says why; the run is marked FAILED."""


class _Hidden:
    def __get__(self, *_: object) -> Any:
        raise AttributeError


class Config(Parameters):
    """The parameters of a program, checked whenever one is made. A default of None is written `auto`.

    Raises ConfigError, in one line, for what is out of its bounds.
    """

    model_config = ConfigDict(ignored_types=(_Hidden,))
    automatic = True
    register = _Hidden()  # every abstract class has a method of this name, which pydantic would take for the default

    def filled(self, values: Mapping[str, Any]) -> Self:
        """With these values for what was left at `auto`; those that are no fields are left out."""
        return self.replace(**{name: value for name, value in values.items() if getattr(self, name, value) is None})

    @model_validator(mode="wrap")
    @classmethod
    def _readable_errors(cls, given: Any, check: Callable[[Any], Self]) -> Self:
        try:
            return check(given)
        except ValidationError as error:
            raise ConfigError(explain(error, cls)) from None


OWN_DATA = ", or the path of your own pictures, with a slash in it: ./flowers"


def check_dataset(field: str, name: str, valid: tuple[str, ...]) -> None:
    """Raise ConfigError for what is neither the name of an image data set nor a path."""
    if name not in valid and not is_own(name):
        hint = did_you_mean(name, valid)
        raise ConfigError(f"{field} is {short(name)}; {hint}valid: {', '.join(valid)}{OWN_DATA}")


def names_in(
    field: str,
    text: str,
    valid: tuple[str, ...],
    groups: Mapping[str, tuple[str, ...]],
    automatic: str = "auto",
    paths: bool = False,
) -> list[str]:
    """The names in a comma-separated list, groups written out, each once, in the order given.

    Args:
        automatic: what `auto` stands for, itself such a list.
        paths: whether those of own pictures are valid, too.

    Raises ConfigError for a name that is neither in `valid` nor in `groups`, and when there is none at all.
    """
    words = ",".join(automatic if part.strip() == "auto" else part for part in text.split(",")).split(",")
    names: dict[str, None] = {}
    for name in (word.strip() for word in words):
        names |= dict.fromkeys(groups.get(name, (name,) if name else ()))
    if not names:
        raise ConfigError(f"{field} is {text!r}, which names nothing; valid: {', '.join((*groups, *valid))}")
    for name in names:
        if name not in valid and not (paths and is_own(name)):
            hint, others = did_you_mean(name, (*valid, *groups)), OWN_DATA if paths else ""
            raise ConfigError(f"{field} names {name!r}; {hint}valid: {', '.join((*groups, *valid))}{others}")
    return list(names)
