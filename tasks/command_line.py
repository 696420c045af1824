"""From parameters to a command line: `--name value`, typed, with one-line errors. Values are checked by the model."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tasks.parameters import Schema, did_you_mean, from_text, short, typed, valid_range
from tasks.version import __version__


class CommandLineError(ValueError):
    """A command line cannot be understood. The text says what is valid."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandLineError(message)


def given_values(
    specs: Mapping[str, Schema], argv: Sequence[str] | None, *, description: str | None, prog: str | None = None
) -> dict[str, Any]:
    """The values that a command line gives, by their names; None: the process's own.

    Raises CommandLineError for unknown and incomplete arguments.
    """
    parser = _OneLineParser(prog, description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"Project-DL {__version__}")
    for name, spec in specs.items():
        parser.add_argument(f"--{name}", metavar="VALUE", help=_help(spec))
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        name = unknown[0].split("=")[0].lstrip("-").replace("-", "_")
        hint = did_you_mean(name, specs) or f"valid: {', '.join(f'--{name}' for name in specs) or 'none'}"
        raise CommandLineError(f"unknown argument {short(unknown[0])}; {hint.rstrip()}")
    # Of `--name=--` argparse makes an empty list, up to Python 3.12.
    texts = {name: text if isinstance(text, str) else "--" for name, text in vars(known).items()}
    return {name: from_text(specs[name], text) for name, text in texts.items()}


def _help(spec: Schema) -> str:
    valid = ", ".join(spec["enum"]) if "enum" in spec else valid_range(spec)
    text = f"{spec['description']}{valid and f' ({valid})'}; default {typed(spec['default'])}"
    return text.replace("%", "%%")  # argparse expands it
