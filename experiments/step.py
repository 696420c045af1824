"""What one step of a training gives: the words that the training loop and the families have in common."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn


class StepResult(NamedTuple):
    """Sums over the items of one process's part of a batch; `loss` carries the gradient, `total` counts all items.

    `examples` is the size of the global batch where an example is several items, as a sequence is several tokens.
    """

    loss: torch.Tensor
    sums: dict[str, torch.Tensor]
    total: int
    examples: int | None = None


Step = Callable[[nn.Module, Any], StepResult]
Metrics = dict[str, float]
