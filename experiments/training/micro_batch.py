"""A batch that does not fit into memory, in parts that do: their gradients add up to that of the whole batch.

The optimizer's steps stay those of the whole batch. The result is the same but for the order of additions, except in
batch norm, whose statistics are then those of the parts, and in dropout, whose masks are drawn for each part.
"""

import gc
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import TrainingError
from experiments.training.state import Step, StepResult
from tasks.runtime.memory import is_full

# The items of a batch from one place to another, as a batch; what it says of the global batch stays as it is.
Divide = Callable[[Any, int, int], Any]


def by_items(batch: Any, start: int, stop: int) -> Any:
    """A part of a named tuple whose fields are tensors `(items, ...)`, things with a `part`, and plain values."""
    part = slice(start, stop)
    fields = {name: value for name, value in batch._asdict().items() if _has_items(value)}
    return batch._replace(
        **{name: value[part] if isinstance(value, torch.Tensor) else value.part(part) for name, value in fields.items()}
    )


def items_in(batch: Any) -> int:
    """How many items a batch has."""
    return len(next(value for value in batch if _has_items(value)))


def _has_items(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or hasattr(value, "part")


class MicroBatches:
    """Runs batches forward and backward, as a whole until one does not fit, then in parts of half the size, and so on.

    Args:
        divide: cuts batches; None for those that cannot be cut.
        on_smaller: called with the items of a part whenever parts become smaller.

    Attributes:
        size: items that are run at once; None for whole batches.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        step: Step,
        divide: Divide | None = None,
        on_smaller: Callable[[int], None] | None = None,
    ) -> None:
        self.accelerator, self.model, self.step, self.divide = accelerator, model, step, divide
        self.on_smaller = on_smaller or (lambda _: None)
        self.size: int | None = None

    def backward(self, batch: Any) -> StepResult:
        """Add the gradient of a batch, averaged over the items of all processes; the result's loss has none.

        Raises TrainingError if not even one item fits, or the batch cannot be cut.
        """
        while True:
            result = self._try(batch)
            if result is not None:
                return result
            # Here, not where the error is handled: it would keep alive all that the failed try had made.
            self._halve(batch)

    def _try(self, batch: Any) -> StepResult | None:
        try:
            if self.size is None or self.divide is None:
                return self._run(batch)
            items = items_in(batch)
            results = [self._run(self.divide(batch, at, at + self.size)) for at in range(0, items, self.size)]
        except (RuntimeError, MemoryError) as error:
            if not is_full(error):
                raise
            return None
        whole = results[0]
        for result in results[1:]:
            sums = {name: value + result.sums[name] for name, value in whole.sums.items()}
            whole = whole._replace(loss=whole.loss + result.loss, sums=sums)
        return whole

    def _run(self, batch: Any) -> StepResult:
        with self.accelerator.autocast():
            result = self.step(self.model, batch)
        # DDP averages gradients over processes; each holds a sum over its own items.
        self.accelerator.backward(result.loss * (self.accelerator.num_processes / result.total))
        return result._replace(loss=result.loss.detach())

    def _halve(self, batch: Any) -> None:
        if self.divide is None:
            raise TrainingError("out of memory; a smaller batch_size needs less")
        if self.accelerator.num_processes > 1:
            # The others wait for this one's gradients, and would not know of the parts.
            raise TrainingError("out of memory; a smaller batch_size, or more processes, need less on each")
        tried = min(self.size or items_in(batch), items_in(batch))
        if tried == 1:
            raise TrainingError("out of memory with one example at a time; a smaller network needs less")
        self.size = (tried + 1) // 2
        self.model.zero_grad()
        gc.collect()
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        self.on_smaller(self.size)
