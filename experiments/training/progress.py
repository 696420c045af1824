"""What the user sees while a training runs: a bar on a terminal, and one line an epoch everywhere."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tqdm import tqdm


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
