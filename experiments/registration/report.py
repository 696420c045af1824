"""What `register` tells: a line for each step, and a table at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.config import TrainingError


@dataclass(frozen=True)
class Outcome:
    """What became of one task: a version in the registry, or `failure`, which says what went wrong.

    Attributes:
        version: of the registered model, which has the task's name.
        score: the metric to show first, with its value; empty without one.
        decision: whether it became champion, and why.
    """

    task: str
    model: str
    seconds: float
    version: str = ""
    parameters: int = 0
    score: str = ""
    champion: bool = False
    packaged: bool = False
    decision: str = ""
    failure: str = ""

    def columns(self) -> tuple[str, ...]:
        """The cells of its line in the table."""
        if self.failure:
            return self.task, self.model, "-", "-", "-", f"{self.seconds:.1f}", self.failure
        version = f"{self.version}{' champion' if self.champion else ''}"
        state = "weights packaged" if self.packaged else "by reference"
        millions = f"{self.parameters / 1e6:,.1f}"
        return self.task, self.model, version, millions, self.score or "-", f"{self.seconds:.1f}", state


HEADER = ("task", "model", "version", "million parameters", "sample", "seconds", "")


@dataclass(frozen=True)
class RegisterResult:
    """The outcomes of all tasks asked for."""

    outcomes: tuple[Outcome, ...]

    def table(self) -> str:
        """The outcomes for a terminal; below them, why some did not become champion."""
        others = [outcome.decision for outcome in self.outcomes if outcome.decision and not outcome.champion]
        done = [outcome.task for outcome in self.outcomes if not outcome.failure]
        last = [f"{len(done)} of {len(self.outcomes)} tasks registered"] if len(self.outcomes) > 1 else []
        return "\n".join([aligned([HEADER, *(one.columns() for one in self.outcomes)]), *others, *last])

    def check(self) -> None:
        """Raise TrainingError, naming them, if some tasks failed."""
        failed = [outcome for outcome in self.outcomes if outcome.failure]
        if failed:
            names = ", ".join(outcome.task for outcome in failed)
            raise TrainingError(f"{len(failed)} of {len(self.outcomes)} tasks failed: {names}")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
