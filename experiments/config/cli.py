"""From a configuration class to a command line: `--name value`, typed, checked, with one-line errors."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from experiments.config import Config, ConfigError, TrainingError, UserError, interrupts
from tasks.command_line import CommandLineError, given_values
from tasks.disk import full_disk
from tasks.runtime.memory import is_full

AnyConfig = TypeVar("AnyConfig", bound=Config)


def parse(config_class: type[AnyConfig], argv: Sequence[str] | None = None) -> tuple[AnyConfig, frozenset[str]]:
    """Parse a command line into a checked configuration.

    Returns the configuration and the names that the user gave (a default that was not typed is not among them).
    Raises ConfigError, in one line, for unknown flags, values of a wrong type, choice or range.
    """
    try:
        given = given_values(config_class.specs(), argv, description=config_class.__doc__)
    except CommandLineError as error:
        raise ConfigError(str(error)) from None
    return config_class(**given), frozenset(given)


def run(main: Callable[[], object]) -> None:
    """Run a program's `main` and turn what goes wrong into one line and an exit code.

    2: what the user gave cannot work, and no run was made; 1: a run had started and is marked FAILED, or
    trainings of a comparison failed; 128 and the signal's number: stopped by Ctrl-C (130), SIGTERM (143) or SIGHUP
    (129), and the run is marked KILLED.
    """
    if sys.flags.optimize > 1:
        print("error: python -OO takes the docstrings away, which MLflow needs; valid: without it", file=sys.stderr)
        raise SystemExit(2)
    interrupts.install()
    # Threads that wait for each other should spin for a fraction of a millisecond only, then sleep: beside any other
    # load on the machine, endless spinning made training several times slower. Read when torch is loaded, hence here.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        main()
    except (UserError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None
    except Exception as error:
        text = full_disk(error) or _full_memory(error)
        if not text:
            raise
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt as stopped:
        interrupts.end_launched_run()
        # What runs were stopped said how to resume them, the outermost one last.
        advice = "".join(f"; {note}" for note in getattr(stopped, "__notes__", [])[-1:])
        number = getattr(stopped, "number", signal.SIGINT)
        failed = stopped.__context__  # `torchrun` stops a rank because of what it or another one had failed with
        with suppress(OSError):  # the terminal may be gone
            if isinstance(failed, (UserError, TrainingError)):
                print(f"error: {failed}", file=sys.stderr)
            print(f"stopped ({signal.Signals(number).name}){advice}", file=sys.stderr, flush=True)
        raise SystemExit(128 + number) from None


def _full_memory(error: Exception) -> str:
    """What to say of an error for which the memory is too small; empty for others."""
    reason = " ".join(str(error).split("\n")[0].split()) or "no reason given"
    return f"out of memory; less data, or a smaller network, needs less ({reason})" if is_full(error) else ""
