"""From a configuration dataclass to a command line: `--name value`, typed, checked, with one-line errors."""

import argparse
import dataclasses
import difflib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from experiments.config import ConfigError, TrainingError, UserError, check, interrupts, valid_range
from tasks.disk import full_disk

Config = TypeVar("Config")


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def parse(config_class: type[Config], argv: Sequence[str] | None = None) -> tuple[Config, frozenset[str]]:
    """Parse a command line into a checked configuration.

    Returns the configuration and the names that the person gave (a default that was not typed is not among them).
    Raises ConfigError, in one line, for unknown flags, values of a wrong type, choice or range.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    fields = {field.name: field for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    parser = _parser(config_class, fields)
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise ConfigError(_unknown_flag(unknown[0], list(fields)))
    given = {name: _convert(fields[name], text) for name, text in vars(known).items()}
    config = config_class(**given)
    check(config)
    return config, frozenset(given)


def run(main: Callable[[], object]) -> None:
    """Run a program's `main` and turn what goes wrong into one line and an exit code.

    2: what a person gave cannot work, and no run was made; 1: a run had started and is marked FAILED; 128 and the
    signal's number: stopped by Ctrl-C (130), SIGTERM (143) or SIGHUP (129), and the run is marked KILLED.
    """
    interrupts.install()
    # Threads that wait for each other shall spin for a fraction of a millisecond only, then sleep: beside any other
    # load on the machine, endless spinning made training several times slower. Read when torch is loaded, hence here.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        main()
    except (UserError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None
    except Exception as error:
        if not full_disk(error):
            raise
        print(f"error: {full_disk(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt as stopped:
        interrupts.end_launched_run()
        # What runs were stopped said how to resume them, the outermost one last.
        advice = "".join(f"; {note}" for note in getattr(stopped, "__notes__", [])[-1:])
        number = getattr(stopped, "number", signal.SIGINT)
        with suppress(OSError):  # the terminal may be gone
            print(f"stopped ({signal.Signals(number).name}){advice}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number) from None


def _parser(config_class: type, fields: dict[str, Any]) -> argparse.ArgumentParser:
    parser = _OneLineParser(description=config_class.__doc__, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name, field in fields.items():
        parser.add_argument(f"--{name}", metavar="VALUE", help=_help(field))
    return parser


def _help(field: Any) -> str:
    default = "auto" if field.default is None else str(field.default)
    choices = field.metadata.get("choices")
    valid = ", ".join(choices) if choices else valid_range(field.metadata)
    # argparse expands %, so a literal one is doubled.
    return f"{field.metadata['help']}{f' ({valid})' if valid else ''}; default {default}".replace("%", "%%")


def _unknown_flag(flag: str, names: list[str]) -> str:
    name = flag.split("=")[0].lstrip("-")
    close = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    hint = f"did you mean --{close[0]}?" if close else f"valid: {', '.join('--' + n for n in names)}"
    return f"unknown argument {flag!r}; {hint}"


def _convert(field: Any, text: str) -> Any:
    if field.default is None and text == "auto":
        return None
    if field.type is bool:
        values = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in values:
            automatic = "auto, " if field.default is None else ""
            raise ConfigError(f"{field.name} is {text!r}; valid: {automatic}true or false")
        return values[text.lower()]
    try:
        return field.type(text)
    except ValueError:
        expected = {"int": "a whole number", "float": "a number"}[field.type.__name__]
        bounds = valid_range(field.metadata)
        raise ConfigError(f"{field.name} is {text!r}; valid: {expected}{' ' + bounds if bounds else ''}") from None
