"""What a study searches: the one visible table of ranges for each family, and how the user changes it.

Every name is a field of the family's configuration class, whose bounds hold here as well.
"""

import math
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from experiments.cnn.recipes import AUGMENTATION
from experiments.config import RANDOM, ConfigError, TrainConfig
from tasks.parameters import AUTO, did_you_mean, from_text

Part = FloatDistribution | IntDistribution | CategoricalDistribution
Space = dict[str, Part]


def between(low: float, high: float, *, log: bool = False, step: int = 1) -> Part:
    """All numbers from `low` to `high`, whole ones in steps; `log` = as likely in every power of ten."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log, step=step)
    return FloatDistribution(low, high, log=log)


def suggest(trial: optuna.Trial, name: str, part: Part) -> Any:
    """The value of a trial."""
    if isinstance(part, CategoricalDistribution):
        return trial.suggest_categorical(name, part.choices)
    draw: Any = trial.suggest_int if isinstance(part, IntDistribution) else trial.suggest_float
    return draw(name, part.low, part.high, step=part.step, log=part.log)


def nearest(part: Part, value: Any) -> Any:
    """The value that is possible and nearest to another; None if there is nothing like it."""
    if isinstance(part, FloatDistribution):
        return min(max(value, part.low), part.high)
    choices = part.choices if isinstance(part, CategoricalDistribution) else range(part.low, part.high + 1, part.step)
    if value in choices:
        return value
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (value, *choices))
    return min(choices, key=lambda one: abs(one - value)) if numbers else None


def written(part: Part) -> str:
    """A range or choice as users write it."""
    if isinstance(part, CategoricalDistribution):
        return "|".join(shown(value) for value in part.choices)
    return f"{part.low:g}:{part.high:g}"


# What is searched unless the user says otherwise. Both optimizers share one range of learning rates: what suits which
# is for the study to find.
SPACES: dict[str, Space] = {
    "cnn": {
        "learning_rate": between(1e-3, 0.1, log=True),
        "weight_decay": between(1e-5, 0.1, log=True),
        "batch_size": CategoricalDistribution((32, 64, 128, 256)),
        "optimizer": CategoricalDistribution(("sgd", "adamw", "muon")),
        "label_smoothing": between(0.0, 0.2),
        "crop": between(0, 4),
        "flip": CategoricalDistribution((False, True)),
        "cutout": between(0, 16, step=4),
    },
    "seq2seq": {
        "learning_rate": between(5e-4, 0.05, log=True),
        "weight_decay": between(1e-6, 0.1, log=True),
        "batch_size": CategoricalDistribution((32, 64, 128)),
        "hidden_size": CategoricalDistribution((32, 64, 128)),
        "layers": between(1, 3),
        "dropout": between(0.0, 0.3),
        "teacher_forcing": between(0.0, 1.0),
    },
}
# Searched only where the user names them, with a range of their own.
ON_REQUEST: dict[str, Space] = {
    "cnn": {
        "schedule": CategoricalDistribution(("cosine", "one_cycle", "constant")),
        "warmup": between(0.0, 0.5),
        "grad_clip": between(0.1, 10.0, log=True),
        "ema_decay": CategoricalDistribution((0.0, 0.99, 0.999)),
        "small_size": CategoricalDistribution((0, 20, 24, 28)),
        "freeze_epochs": between(0, 10),
        "trunk_learning_rate": between(0.01, 1.0, log=True),
    },
    "seq2seq": {
        "optimizer": CategoricalDistribution(("sgd", "adamw")),
        "schedule": CategoricalDistribution(("cosine", "one_cycle", "constant")),
        "warmup": between(0.0, 0.5),
        "grad_clip": between(0.1, 10.0, log=True),
    },
}
OF_PRETRAINED = ("freeze_epochs", "trunk_learning_rate")
HOW = "each part is name=low:high, name=a|b, name=value or name=auto"


def make_space(kind: str, dataset: str, text: str, base: TrainConfig) -> tuple[Space, dict[str, Any]]:
    """The ranges to search, and the values that `text` fixes instead; see `TuneConfig.search` for how it is written.

    Args:
        base: a configuration of the family, whose fields say what type and bounds a parameter has.

    Raises ConfigError, naming the part, for what is no parameter, no range or no value of it.
    """
    space = dict(SPACES[kind])
    if dataset in AUGMENTATION and not AUGMENTATION[dataset]["flip"]:  # which would make other digits, or none
        del space["flip"]
    known = {**SPACES[kind], **ON_REQUEST[kind]}
    if getattr(base, "weights", RANDOM) == RANDOM:
        known = {name: part for name, part in known.items() if name not in OF_PRETRAINED}
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
            if isinstance(read, CategoricalDistribution) and len(read.choices) == 1:
                fixed[name] = read.choices[0]
            else:
                space[name] = read
    if not space:
        raise ConfigError(
            f"search is {text!r}, which leaves nothing to search; valid: a range for one of {', '.join(known)}"
        )
    return space, fixed


def _read(name: str, text: str, standard: Part, base: TrainConfig) -> Part:
    """A range or a list of values as the user wrote it."""
    if ":" not in text:
        values = tuple(_value(name, one.strip(), base) for one in text.split("|"))
        if len(set(values)) < len(values):
            raise ConfigError(f"search has {name}={text}, which names a value twice")
        return CategoricalDistribution(values)
    if isinstance(standard, CategoricalDistribution):
        raise ConfigError(f"search has {name}={text}; valid: values such as {name}={written(standard)}")
    low, high = (_value(name, end.strip(), base) for end in text.split(":", 1))
    if low >= high:
        raise ConfigError(
            f"search has {name}={text}; valid: low:high with the smaller number first, such as {written(standard)}"
        )
    step = math.gcd(standard.step, high - low) if isinstance(standard, IntDistribution) else 1
    return between(low, high, log=standard.log and low > 0, step=step)


def _value(name: str, text: str, base: TrainConfig) -> Any:
    """A value of a field, of its type and within its bounds."""
    if text == AUTO:
        raise ConfigError(f"search has {AUTO} among the values of {name}; valid: {name}={AUTO} alone")
    try:
        return getattr(base.replace(**{name: from_text(base.specs()[name], text)}), name)
    except ConfigError as error:
        raise ConfigError(f"search: {error}") from None


def limit_batch_size(space: Space, base: TrainConfig, examples: int, search: str) -> tuple[Space, TrainConfig]:
    """A space in which every batch size works with this number of training examples.

    Standard choices that are too large are left out. Raises ConfigError for those that the user gave.
    """
    sizes = space.get("batch_size")
    asked: tuple[Any, ...] = sizes.choices if isinstance(sizes, CategoricalDistribution) else (base.batch_size,)
    possible = tuple(size for size in asked if size <= examples)
    if possible == asked:
        return space, base
    if "batch_size" in search:
        raise ConfigError(f"search has batch_size={max(asked)}; valid: at most {examples}, the training examples")
    if len(possible) > 1:
        return {**space, "batch_size": CategoricalDistribution(possible)}, base
    others = {name: values for name, values in space.items() if name != "batch_size"}
    return others, base.replace(batch_size=min((*possible, examples)))


def recipe_in(space: Space, base: TrainConfig) -> dict[str, Any] | None:
    """The recipe's own values, or those of the space nearest to them; None where there is nothing like them."""
    values = {name: nearest(part, getattr(base, name)) for name, part in space.items()}
    return None if None in values.values() else values


def shown(value: Any) -> str:
    """A value as users type it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
