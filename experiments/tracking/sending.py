"""Telling a tracking server what a run does; if the server is away, nothing waits for it: the run's spool gets it."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from experiments.tracking.spool import SPOOL, Operation, Spool, together

# Seconds between two questions whether the server is back: doubled after each one that gets no answer.
FIRST_WAIT, LONGEST_WAIT = 5.0, 120.0
PROBE_SECONDS = 2.0


Result = TypeVar("Result")


class AwayError(Exception):
    """The tracking server does not answer. The text says why."""


class Perform(Protocol):
    """Carries out an operation; `again` where it may have been carried out before. Raises AwayError."""

    def __call__(self, operation: Operation, files: Path | None, again: bool) -> None: ...


class Direct:
    """The way of a run's operations to a store that is on this machine, or is waited for."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform

    def send(self, operation: Operation, files: Path | None = None, copy: bool = True) -> bool:  # noqa: ARG002
        """Carry an operation out."""
        self._perform(operation, files, again=False)
        return True

    def attempt(self, action: Callable[[], Result]) -> Result | None:
        """Do something with the store."""
        return action()


class Sender:
    """The way of one run's operations to its server: at once, or through the spool in the order in which they came.

    Attributes:
        server: its address.
        clock: seconds since some moment.

    Args:
        in_words: turns what the server's absence raises into AwayError.
    """

    def __init__(
        self,
        server: str,
        spool: Spool,
        perform: Perform,
        in_words: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server, self.spool, self.clock = server, spool, clock
        self._perform, self._in_words = perform, in_words
        self._away = False
        self._wait, self._next = FIRST_WAIT, 0.0

    def send(self, operation: Operation, files: Path | None = None, copy: bool = True) -> bool:
        """Carry an operation out, or spool it if the server is away (files without `copy` stay where they are)."""
        if self.ready():
            try:
                self._perform(operation, files, again=False)
                return True
            except AwayError as error:
                self.lost(error)
        self.keep(operation, files, copy)
        return False

    def attempt(self, action: Callable[[], Result]) -> Result | None:
        """Do something with the server after all that waits for it; None if it is away."""
        if not self.ready(now=True):
            return None
        try:
            with self._in_words():
                return action()
        except AwayError as error:
            self.lost(error)
            return None

    def keep(self, operation: Operation, files: Path | None = None, copy: bool = True) -> None:
        """Spool an operation."""
        self.spool.make(self.server)
        self.spool.add(operation, files, copy)

    def ready(self, now: bool = False) -> bool:
        """Whether the server has all that came before; asked seldom while it is away, unless `now`."""
        if not self._away and not self.spool.waiting:
            return True
        if self._away and not now and self.clock() < self._next:
            return False
        if not answers(self.server):
            self._later()
            return False
        try:
            self.flush()
        except AwayError as error:
            self.lost(error)
            return False
        return True

    def flush(self) -> int:
        """Carry out all that waits; returns how much that was. Raises AwayError; what was carried out is noted."""
        count = len(self.spool.waiting)
        for names, operation in together(list(self.spool.waiting.values())):
            self._perform(operation, self.spool.files(operation) if "id" in operation else None, again=True)
            self.spool.done(names)
        if count:
            print(f"{self.server} answers: it has got what had waited ({count} operations)", file=sys.stderr)
        self._away, self._wait = False, FIRST_WAIT
        return count

    def lost(self, error: AwayError) -> None:
        """Note that the server did not answer."""
        if not self._away:
            print(f"warning: {error}; until it is back, what is logged waits in {self.spool.folder}", file=sys.stderr)
        self._away = True
        self._later()

    @property
    def advice(self) -> str:
        """Where a run waits, and what to type when the server is back."""
        folder = self.spool.folder.parent
        place = "" if folder == SPOOL.absolute() else f" --spool {folder}"
        return f"what waits is in {self.spool.folder}; when it is back: python -m experiments.replay{place}"

    def _later(self) -> None:
        self._away = True
        self._next = self.clock() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def close(self) -> None:
        """Say what to type if something waits; leave the spool to others."""
        if self.spool.waiting:
            print(f"{self.server} does not answer; {self.advice}", file=sys.stderr)
        self.spool.close()


def answers(server: str) -> bool:
    """Whether a server answers within two seconds, be it with a refusal."""
    try:
        urllib.request.urlopen(server.rstrip("/") + "/health", timeout=PROBE_SECONDS).close()
        return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False
