"""The programs that the tool can start: the entry points of MLproject, with the fields of their configuration classes.

Values are texts, as users type them on the command line. No Streamlit here.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from experiments import config as configurations
from experiments.config import (
    Config,
    ConfigError,
    check_kind,
    check_limit,
    check_tuned_kind,
    dataset_name,
    names_in,
)
from tasks.parameters import AUTO, Schema, from_text, typed

PROJECT_ROOT = Path(__file__).resolve().parents[2]
MOST_CHARACTERS = 1000
# Declared in MLproject, but seldom what a user looks for; and the other way round.
NOT_HEADLINE = ("data_dir", "resume")
ALSO_HEADLINE = ("epochs",)
# How a run is called; the parts about what is left to the program are left out.
TITLES = {
    "cnn": ("{model}", " on {dataset}"),
    "seq2seq": ("{cell}", " with {attention} attention"),
    "compare": ("Comparison", " of {models}", " on {datasets}"),
    "tune": ("Tuning", " of {model}", " on {dataset}"),
    "benchmark": ("Speed", " of {model}", " on {dataset}"),
    "register": ("Registration", " of {model}", " for {task}"),
    "finetune": ("Fine-tuning", " of {model}", " on {data}"),
    "starter": ("Starter", " for {task}"),
    "evaluate": ("Evaluation", " of {task}"),
}
MODULE = re.compile(r"python -m (experiments\.\w+)")


@dataclass(frozen=True)
class Program:
    """An entry point.

    Attributes:
        module: what `python -m` runs.
        configuration: the class of its parameters.
        headline: the parameters that a form shows first.
    """

    name: str
    module: str
    configuration: type[Config]
    headline: tuple[str, ...]

    @property
    def specs(self) -> dict[str, Schema]:
        """The schemas of the parameters by name, the headline first."""
        specs = self.configuration.specs()
        return {name: specs[name] for name in self.headline} | specs

    @property
    def purpose(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.configuration.__doc__ or "").split())


@cache
def programs() -> dict[str, Program]:
    """The entry points of MLproject that have a configuration class of their name, such as CnnConfig for `cnn`."""
    classes = {
        name.removesuffix("Config").lower(): value
        for name, value in vars(configurations).items()
        if isinstance(value, type) and issubclass(value, Config)
    }
    entries = yaml.safe_load((PROJECT_ROOT / "MLproject").read_text())["entry_points"]
    found = {}
    for name, entry in entries.items():
        module = MODULE.match(entry["command"])
        if module and name in classes:
            fields = classes[name].model_fields
            declared = [key for key in entry["parameters"] if key in fields and key not in NOT_HEADLINE]
            also = [key for key in ALSO_HEADLINE if key in fields and key not in declared]
            found[name] = Program(name, module[1], classes[name], (*declared, *also))
    return found


def program(name: str) -> Program:
    """A program by the name of its entry point. Raises ConfigError, naming those that there are."""
    if name not in programs():
        raise ConfigError(f"entry point is {name[:60]!r}; valid: {', '.join(programs())}")
    return programs()[name]


def title(name: str, values: Mapping[str, str]) -> str:
    """What a run of an entry point is called, such as `lenet5 on digits`; the name itself for unknown ones."""
    if name not in programs() or values.get("resume", "none") != "none":
        return " ".join([name, *(f"{key}={text}" for key, text in values.items())])
    defaults = {key: typed(spec["default"]) for key, spec in program(name).specs.items()}
    filled = {key: "all tasks" if text == "all" else text for key, text in {**defaults, **values}.items()}
    for key in filled.keys() & {"dataset", "datasets"}:
        filled[key] = ",".join(map(dataset_name, filled[key].split(",")))
    parts = TITLES.get(name, (name,))
    return "".join(part.format_map(filled) for part in parts if AUTO not in part.format_map(filled).split())


def value_of(program: Program, name: str, text: str) -> Any:
    """What a text means for a field. Raises ConfigError, which names the field and what is valid."""
    spec, text = program.specs[name], text.strip()
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{name} has {len(text):,} characters; valid: {MOST_CHARACTERS:,} at most")
    if not text.isprintable():
        raise ConfigError(f"{name} has invisible characters (such as a line break); valid: one line of text")
    if not text and spec["default"] is not None:
        raise ConfigError(f"{name} is empty; its default is {typed(spec['default'])}")
    return getattr(program.configuration(**{name: from_text(spec, text or AUTO)}), name)


def problems(program: Program, texts: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with typed values, by field; {} if they can be tried. Fields not typed have their defaults.

    What only the program can know (files, devices, free space), it says itself.
    """
    wrong, values, specs = {}, {}, program.specs
    for name, text in texts.items():
        try:
            if name not in specs:
                raise ConfigError(f"{name[:60]!r} is no parameter of {program.name}; valid: {', '.join(specs)}")
            values[name] = value_of(program, name, text)
        except ConfigError as error:
            wrong[name] = str(error)
    if not wrong:
        try:
            _check_together(program.configuration(**values))
        except ConfigError as error:
            text = str(error)
            wrong[next((name for name in specs if text.startswith(f"{name} ")), "")] = text
    return wrong


def _check_together(config: Any) -> None:
    """Raise ConfigError for values that are no names, or that contradict each other."""
    if isinstance(config, configurations.Seq2SeqConfig) and config.min_length > config.max_length:
        raise ConfigError(f"min_length is {config.min_length}; valid: max_length ({config.max_length}) at most")
    if isinstance(config, configurations.CnnConfig):
        configurations.check_image_size(config.image_size, [config.dataset])
        configurations.check_weights(config)
    if isinstance(config, configurations.BenchmarkConfig):
        names_in("model", config.model, configurations.CNN_MODELS, configurations.CNN_GROUPS)
    if isinstance(config, configurations.TuneConfig):
        check_tuned_kind(config)
    if isinstance(config, configurations.RegisterConfig):
        check_limit(config)
    if isinstance(config, configurations.CompareConfig):
        check_kind(config)
        valid = configurations.FAMILIES.get(config.kind)  # none of tasks
        if valid:
            names_in("models", config.models, valid.models, valid.groups, next(iter(valid.groups)))
            names_in("datasets", config.datasets, valid.datasets, {}, valid.datasets[0], valid.own_data)


def changed(program: Program, texts: Mapping[str, str]) -> dict[str, str]:
    """The typed values that differ from their defaults, written as the command line wants them."""
    values = {name: value_of(program, name, text) for name, text in texts.items()}
    return {name: typed(value) for name, value in values.items() if value != program.specs[name]["default"]}


def arguments(values: Mapping[str, str]) -> list[str]:
    """Values as arguments of a program; in one piece each, so that none can be taken for a flag."""
    return [f"--{name}={text}" for name, text in values.items()]


def command_line(program: Program, values: Mapping[str, str]) -> str:
    """What to type in a shell to run the same."""
    parts = ["mlflow", "run", ".", "-e", program.name, "--env-manager", "local", "--experiment-name", program.name]
    for name, text in values.items():
        parts += ["-P", f"{name}={text}"]
    return shlex.join(parts)
