"""What the user sees while a training runs: a bar on a terminal, and one line an epoch everywhere."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from typing import Any

from tqdm import tqdm

# What MLflow prints for every registered version and every file it fetches.
CHATTER = ("Successfully registered model", "Registered model ", "Created version ", "Downloading artifacts:")


class Progress:
    """Shows batches and epochs of one training on stderr and stdout; silent where `enabled` is false (other ranks).

    `metric` is the validation metric to follow.
    """

    def __init__(self, epochs: int, batches: int, metric: str, enabled: bool = True) -> None:
        self.epochs = epochs
        self.batches = batches
        self.metric = metric
        self.enabled = enabled

    def bar(self, batches: Iterable[Any], epoch: int) -> Iterable[Any]:
        """The batches, behind a progress bar if stderr is a terminal."""
        if not (self.enabled and sys.stderr.isatty()):
            return batches
        return tqdm(batches, f"epoch {epoch}/{self.epochs}", self.batches, leave=False, unit="batch")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One line with what matters of an epoch."""
        if not self.enabled:
            return
        width = len(str(self.epochs))
        print(
            f"epoch {epoch:{width}}/{self.epochs}  loss {metrics['train_loss']:.4f}  "
            f"val_loss {metrics['val_loss']:.4f}  {self.metric} {metrics[self.metric]:.4f}  "
            f"{metrics['epoch_seconds']:.1f} s  {metrics['examples_per_second']:,.0f} examples/s",
            flush=True,
        )


class _Lines(TextIOBase):
    """Gives what is written to a function, line by line. Not being a terminal, it keeps progress bars away."""

    def __init__(self, show: Callable[[str], object]) -> None:
        self.show = show

    def write(self, text: str, /) -> int:
        for line in text.splitlines():
            if line.strip() and not line.startswith(CHATTER):
                self.show(" ".join(line.split()))
        return len(text)


def _drop(line: str) -> None:
    """Lines that are not shown."""


@contextmanager
def one_of_many(show: Callable[[str], object] = _drop) -> Iterator[None]:
    """Leave the terminal to the program that runs many trainings: `show` gets what this one prints.

    Its warnings still go to stderr, above a progress bar.
    """
    with redirect_stdout(_Lines(show)), redirect_stderr(_Lines(lambda line: tqdm.write(line, file=sys.__stderr__))):
        yield
