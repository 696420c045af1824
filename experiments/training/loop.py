"""The one training loop, for every family of models.

A family brings a step function: `step(model, batch)` returns the sum of the loss over this process's items (with
gradient), sums of other metrics, and the number of items. Averages are taken over items, never over batches.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import TrainingError
from experiments.training.micro_batch import Divide, MicroBatches
from experiments.training.state import Metrics, Step, TrainState

# Reading the loss waits for a GPU, or for other processes: then it is done at intervals, else at each batch.
CHECK_INTERVAL = 100
ADVICE = "a lower learning_rate, a longer warmup or grad_clip may help"


class DivergedError(TrainingError):
    """The loss became NaN or infinite."""


def fit(
    state: TrainState,
    *,
    batches: Callable[[int], Iterator[Any]],
    step: Step,
    evaluate: Callable[[nn.Module], Metrics],
    epochs: int,
    seed: int,
    on_epoch_end: Callable[[int, Metrics], None],
    solved: Callable[[Metrics], bool] = lambda _: False,
    grad_clip: float = 0.0,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
    divide: Divide | None = None,
    on_smaller: Callable[[int], None] | None = None,
    on_epoch_start: Callable[[int], None] = lambda _: None,
) -> None:
    """Train until `epochs` epochs are finished or the task is solved, continuing from where `state` stands.

    Args:
        batches: gives the training batches of an epoch (from 1).
        evaluate: measures the evaluated network on validation data; its metrics get the prefix `val_`.
        on_epoch_end: called with the epoch and its metrics after `state` has them: checkpoint, log, prune.
        solved: whether an epoch's metrics end the training early.
        progress: wraps the batches of an epoch to show where it is.
        divide: cuts a batch that does not fit into memory; None for batches that cannot be cut.
        on_smaller: called with the examples that are run at once, when these become fewer than a batch.
        on_epoch_start: called with the epoch when the network is in training mode: freeze parts of it, say.

    Raises DivergedError, naming epoch and batch, when the loss is not finite, or when that on validation data never
    was; TrainingError when memory is too small.
    """
    micro_batches = MicroBatches(state.accelerator, state.model, step, divide, on_smaller)
    for epoch in range(state.epoch + 1, epochs + 1):
        if state.history and solved(state.history[-1]):
            return
        started = time.perf_counter()
        # Dropout draws from the global generator; seeding it per epoch makes an epoch independent of what ran before.
        torch.manual_seed((seed * 1_000_003 + epoch) * 4096 + state.accelerator.process_index)
        shown = progress(batches(epoch), epoch) if progress else batches(epoch)
        state.model.train()
        on_epoch_start(epoch)
        totals, learning_rate = _train_epoch(state, shown, micro_batches, grad_clip, epoch)
        trained = time.perf_counter()
        state.network.eval()
        validation = evaluate(state.evaluated)
        count, examples = totals.pop("count"), totals.pop("examples")
        metrics = {
            **{f"train_{name}": value / count for name, value in totals.items()},
            **{f"val_{name}": value for name, value in validation.items()},
            "learning_rate": learning_rate,
            "epoch_seconds": time.perf_counter() - started,
            "examples_per_second": examples / (trained - started),
        }
        state.history.append(metrics)
        on_epoch_end(epoch, metrics)
    # Of one epoch it may be: batch norm's averages, say, are far off after the first ones.
    if state.history and not any(math.isfinite(metrics.get("val_loss", 0.0)) for metrics in state.history):
        raise DivergedError(f"the validation loss is {state.history[-1]['val_loss']} after every epoch; {ADVICE}")


def _train_epoch(
    state: TrainState, batches: Iterable[Any], micro_batches: MicroBatches, grad_clip: float, epoch: int
) -> tuple[Metrics, float]:
    """One pass: returns sums over all processes (`loss`, the step's own, `count`, `examples`) and the last learning
    rate."""
    accelerator, model = state.accelerator, state.model
    sums: dict[str, Any] = {}
    unchecked: list[Any] = []
    count, examples, done, learning_rate = 0, 0, 0, 0.0
    on_cpu = accelerator.device.type == "cpu"
    interval = 1 if on_cpu and accelerator.num_processes == 1 else CHECK_INTERVAL
    for batch in batches:
        result = micro_batches.backward(batch)
        if grad_clip:
            accelerator.clip_grad_norm_(model.parameters(), grad_clip)
        learning_rate = float(state.scheduler.get_last_lr()[0])
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        if state.average is not None:
            state.average.update_parameters(state.network)
        for name, value in {"loss": result.loss, **result.sums}.items():
            # Numbers on a CPU: a small tensor that outlives its step lies between the large ones of the steps after it,
            # and the heap grows around it, with a language model by gigabytes in an hour.
            number = value.item() if on_cpu else value
            sums[name] = sums[name] + number if name in sums else number
            if name == "loss":
                unchecked.append(number)
        count += result.total
        examples += result.total if result.examples is None else result.examples
        done += 1
        if len(unchecked) == interval:
            _check_finite(accelerator, unchecked, done, epoch)
            unchecked.clear()
    _check_finite(accelerator, unchecked, done, epoch)
    return {**_reduce(accelerator, sums), "count": float(count), "examples": float(examples)}, learning_rate


def _check_finite(accelerator: Accelerator, losses: Sequence[Any], done: int, epoch: int) -> None:
    """Raise DivergedError if one of the newest losses is not finite; `done` batches of the epoch are finished.

    A loss counts on all processes: if one of them raised alone, the others would wait for it.
    """
    if not losses:
        return
    together = _reduced(accelerator, losses)
    finite = torch.isfinite(together)
    if not finite.all():
        place = int(finite.logical_not().nonzero()[0])
        raise DivergedError(
            f"the loss is {float(together[place])} in epoch {epoch}, batch {done - len(losses) + place + 1}; {ADVICE}"
        )


def _reduce(accelerator: Accelerator, sums: dict[str, Any]) -> Metrics:
    """Add up over processes and read from the device, once."""
    names = sorted(sums)
    return dict(zip(names, _reduced(accelerator, [sums[name] for name in names]).tolist(), strict=True))


def _reduced(accelerator: Accelerator, numbers: Sequence[Any]) -> torch.Tensor:
    """The sums of numbers, or of tensors of one, over all processes."""
    exact = torch.float64 if accelerator.device.type == "cpu" else torch.float32
    values = [torch.as_tensor(number, dtype=exact, device=accelerator.device) for number in numbers]
    summed: Any = accelerator.reduce(torch.stack(values), "sum")
    return summed
