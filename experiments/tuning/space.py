"""What a study searches: the one visible table of ranges for each family, and how the user changes it.

Every name is a field of the family's configuration class, whose bounds hold here as well.
"""

import math
from dataclasses import dataclass
from typing import Any

import optuna

from experiments.config import ConfigError, TrainConfig
from tasks.parameters import AUTO, did_you_mean, from_text


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, in steps of `step` if there is one; `log` = as likely in every power of ten."""

    low: float
    high: float
    log: bool = False
    step: int = 1  # of whole numbers

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}"

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The value of a trial; a whole number where both ends are."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> Any:
        """The value of this range that is nearest to another."""
        inside = min(max(value, self.low), self.high)
        return self.low + round((inside - self.low) / self.step) * self.step if isinstance(self.low, int) else inside


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return "|".join(shown(value) for value in self.values)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """The value of a trial."""
        return trial.suggest_categorical(name, self.values)

    def nearest(self, value: Any) -> Any:
        """The value itself, of other numbers the nearest; None if there is nothing like it."""
        if value in self.values:
            return value
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, *self.values))
        return min(self.values, key=lambda one: abs(one - value)) if numbers else None


Space = dict[str, Range | Choice]

# What is searched unless the user says otherwise. Both optimizers share one range of learning rates: what suits which
# is for the study to find.
SPACES: dict[str, Space] = {
    "cnn": {
        "learning_rate": Range(1e-3, 0.1, log=True),
        "weight_decay": Range(1e-5, 0.1, log=True),
        "batch_size": Choice((32, 64, 128, 256)),
        "optimizer": Choice(("sgd", "adamw")),
        "label_smoothing": Range(0.0, 0.2),
        "crop": Range(0, 4),
        "flip": Choice((False, True)),
        "cutout": Range(0, 16, step=4),
    },
    "seq2seq": {
        "learning_rate": Range(5e-4, 0.05, log=True),
        "weight_decay": Range(1e-6, 0.1, log=True),
        "batch_size": Choice((32, 64, 128)),
        "hidden_size": Choice((32, 64, 128)),
        "layers": Range(1, 3),
        "dropout": Range(0.0, 0.3),
        "teacher_forcing": Range(0.0, 1.0),
    },
}
# Searched only where the user names them, with a range of their own.
ON_REQUEST: dict[str, Space] = {
    "cnn": {
        "schedule": Choice(("cosine", "one_cycle", "constant")),
        "warmup": Range(0.0, 0.5),
        "grad_clip": Range(0.1, 10.0, log=True),
        "ema_decay": Choice((0.0, 0.99, 0.999)),
    },
    "seq2seq": {
        "optimizer": Choice(("sgd", "adamw")),
        "schedule": Choice(("cosine", "one_cycle", "constant")),
        "warmup": Range(0.0, 0.5),
        "grad_clip": Range(0.1, 10.0, log=True),
    },
}
# Mirrored digits are other digits or none.
LEFT_TO_THE_RECIPE = {"digits": ("flip",), "mnist": ("flip",)}
HOW = "each part is name=low:high, name=a|b, name=value or name=auto"


def make_space(kind: str, dataset: str, text: str, base: TrainConfig) -> tuple[Space, dict[str, Any]]:
    """The ranges to search, and the values that `text` fixes instead; see `TuneConfig.search` for how it is written.

    Args:
        base: a configuration of the family, whose fields say what type and bounds a parameter has.

    Raises ConfigError, naming the part, for what is no parameter, no range or no value of it.
    """
    without = LEFT_TO_THE_RECIPE.get(dataset, ())
    space = {name: values for name, values in SPACES[kind].items() if name not in without}
    known = {**SPACES[kind], **ON_REQUEST[kind]}
    fixed: dict[str, Any] = {}
    seen: set[str] = set()
    for part in [] if text == "none" else text.split(","):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or not values:
            raise ConfigError(f"search has {part.strip()!r}; valid: {HOW}, separated by commas")
        if name not in known:
            raise ConfigError(f"search names {name!r}; {did_you_mean(name, known)}valid: {', '.join(known)}")
        if name in seen:
            raise ConfigError(f"search names {name} twice")
        seen.add(name)
        space.pop(name, None)
        if values != AUTO:
            read = _read(name, values, known[name], base)
            if isinstance(read, Choice) and len(read.values) == 1:
                fixed[name] = read.values[0]
            else:
                space[name] = read
    if not space:
        raise ConfigError(
            f"search is {text!r}, which leaves nothing to search; valid: a range for one of {', '.join(known)}"
        )
    return space, fixed


def _read(name: str, text: str, standard: Range | Choice, base: TrainConfig) -> Range | Choice:
    """A range or a list of values as the user wrote it."""
    if ":" not in text:
        values = tuple(_value(name, one.strip(), base) for one in text.split("|"))
        if len(set(values)) < len(values):
            raise ConfigError(f"search has {name}={text}, which names a value twice")
        return Choice(values)
    if isinstance(standard, Choice):
        raise ConfigError(f"search has {name}={text}; valid: values such as {name}={standard}")
    low, high = (_value(name, end.strip(), base) for end in text.split(":", 1))
    if low >= high:
        raise ConfigError(
            f"search has {name}={text}; valid: low:high with the smaller number first, such as {standard}"
        )
    step = math.gcd(standard.step, high - low) if isinstance(low, int) else 1
    return Range(low, high, log=standard.log and low > 0, step=step)


def _value(name: str, text: str, base: TrainConfig) -> Any:
    """A value of a field, of its type and within its bounds."""
    if text == AUTO:
        raise ConfigError(f"search has {AUTO} among the values of {name}; valid: {name}={AUTO} alone")
    try:
        return getattr(base.replace(**{name: from_text(base.specs()[name], text)}), name)
    except ConfigError as error:
        raise ConfigError(f"search: {error}") from None


def limit_batch_size(space: Space, base: TrainConfig, examples: int, search: str) -> tuple[Space, TrainConfig]:
    """A space in which every batch size can be had with this many training examples.

    Standard choices that are too large are left out. Raises ConfigError for those that the user gave.
    """
    sizes = space.get("batch_size")
    asked = sizes.values if isinstance(sizes, Choice) else (base.batch_size,)
    possible = tuple(size for size in asked if size <= examples)
    if possible == asked:
        return space, base
    if "batch_size" in search:
        raise ConfigError(f"search has batch_size={max(asked)}; valid: at most {examples}, the training examples")
    if len(possible) > 1:
        return {**space, "batch_size": Choice(possible)}, base
    others = {name: values for name, values in space.items() if name != "batch_size"}
    return others, base.replace(batch_size=min((*possible, examples)))


def recipe_in(space: Space, base: TrainConfig) -> dict[str, Any] | None:
    """The recipe's own values, or those of the space nearest to them; None where there is nothing like them."""
    values = {name: part.nearest(getattr(base, name)) for name, part in space.items()}
    return None if None in values.values() else values


def shown(value: Any) -> str:
    """A value as people type it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
