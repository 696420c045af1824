"""What a training consists of besides its data: weights, moving average, optimizer, schedule, history.

`TrainState` can be taken apart into named tensors and plain values and put together again, bit for bit; `checkpoint`
writes the parts. Data order, augmentation and dropout are functions of (seed, epoch), so no generator state is needed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments.config import TrainConfig
from experiments.training.muon import OTHERS_DECAY, OTHERS_RATE, Muon, orthogonalized_parameters

MOMENTUM = 0.9
History = list[dict[str, float]]


class Slower(NamedTuple):
    """Parameters that are trained with a fraction of the learning rate."""

    parameters: Sequence[nn.Parameter] = ()
    fraction: float = 1.0


NONE_SLOWER = Slower()


def make_optimizer(
    name: str, model: nn.Module, learning_rate: float, weight_decay: float, slower: Slower = NONE_SLOWER
) -> torch.optim.Optimizer:
    """`sgd` (Nesterov, momentum 0.9), `adamw` or `muon`, fused; vectors (biases, norm weights) are not decayed.

    The slower parameters come last: the first group has the learning rate that is logged. With Muon that is the rate of
    the matrices which it orthogonalizes, and the weight decay is theirs; all others have multiples of both.
    """
    orthogonal = {id(parameter) for parameter in orthogonalized_parameters(model)} if name == "muon" else set()
    others, decay = (OTHERS_RATE, OTHERS_DECAY * weight_decay) if name == "muon" else (1.0, weight_decay)
    slow = {id(parameter) for parameter in slower.parameters}
    quick = [parameter for parameter in model.parameters() if id(parameter) not in slow]
    groups = []
    for parameters, rate in ((quick, learning_rate), (slower.parameters, learning_rate * slower.fraction)):
        updated = [p for p in parameters if id(p) in orthogonal]
        matrices = [p for p in parameters if p.ndim > 1 and id(p) not in orthogonal]
        vectors = [p for p in parameters if p.ndim <= 1]
        groups.append({"params": updated, "weight_decay": weight_decay, "lr": rate, "orthogonal": True})
        groups.append({"params": matrices, "weight_decay": decay, "lr": others * rate})
        groups.append({"params": vectors, "weight_decay": 0.0, "lr": others * rate})
    groups = [group for group in groups if group["params"]]
    if name == "muon":
        return Muon(groups, lr=learning_rate, momentum=MOMENTUM)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, nesterov=True, fused=True)


def schedule_factor(name: str, step: int, total: int, warmup: float) -> float:
    """The fraction of the peak learning rate at `step` (from 0) of `total`.

    All schedules rise linearly over the first `warmup` fraction of the steps; then `cosine` falls along a half cosine
    to zero, `one_cycle` falls linearly (Smith and Topin 2019, without its last phase), `constant` stays.
    """
    rising = max(1, round(warmup * total)) if warmup else 0
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, total - rising)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "one_cycle": 1 - progress, "constant": 1.0}[name]


@dataclass
class TrainState:
    """A training in progress.

    Attributes:
        model: the network as trained: wrapped for autocast and, on several processes, for DDP.
        optimizer, scheduler: as prepared by accelerate; the scheduler steps once a batch.
        average: moving average of the weights, or None.
        history: one dict a finished epoch, with its metrics.
    """

    accelerator: Accelerator
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    average: AveragedModel | None = None
    history: History = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    @property
    def network(self) -> nn.Module:
        """The trained network without the wrapping of several processes."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and kept: the average where there is one."""
        return self.average.module if self.average is not None else self.network

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """All tensors, by file: `model`, `average` (with a moving average) and `optimizer`."""
        parts = {"model": dict(self.network.state_dict())}
        if self.average is not None:
            parts["average"] = dict(self.average.state_dict())
        parts["optimizer"] = {
            f"{index}.{name}": value
            for index, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, torch.Tensor)
        }
        return parts

    def values(self) -> dict[str, Any]:
        """All that is not a tensor, ready for JSON."""
        scaler = self.accelerator.scaler
        return {
            "history": self.history,
            "scheduler": self.scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
        }

    def restore(self, tensors: dict[str, dict[str, torch.Tensor]], values: dict[str, Any]) -> None:
        """Become the state that `tensors()` and `values()` were taken from."""
        self.network.load_state_dict(tensors["model"])
        if self.average is not None:
            self.average.load_state_dict(tensors["average"])
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors["optimizer"].items():
            index, name = key.split(".", 1)
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:
                # Fused optimizers walk through memory: state must lie as its parameter does, channels_last or not.
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.scheduler.load_state_dict(values["scheduler"])
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        if self.accelerator.scaler is not None and values["scaler"]:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.history = list(values["history"])


def evaluated_weights(tensors: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights of `TrainState.evaluated`, as a network's state dict, out of what `TrainState.tensors` gave."""
    if "average" not in tensors:
        return tensors["model"]
    prefix = "module."
    return {key.removeprefix(prefix): value for key, value in tensors["average"].items() if key.startswith(prefix)}


def best_epoch(history: History, metric: str) -> int:
    """The epoch (from 1) with the highest `metric`; of equal ones that with the lowest validation loss.

    Epochs whose validation loss is not finite come last.
    """

    def key(metrics: Metrics) -> tuple[bool, float, float]:
        finite = math.isfinite(metrics["val_loss"])
        return finite, metrics[metric], -metrics["val_loss"] if finite else 0.0

    best = max(history, key=key)
    return history.index(best) + 1


def laid_out(model: nn.Module, memory_format: str) -> nn.Module:
    """A network, with weights and inputs in a memory format: `contiguous`, else channels_last."""
    if memory_format != "contiguous":
        return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = _contiguous(tensor.data)
    model.register_forward_pre_hook(_contiguous_inputs)
    return model


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    # Gray images and their filters count as contiguous whatever their strides say: `contiguous()` would leave them as
    # they are, and convolutions would continue in channels_last.
    return tensor.clone(memory_format=torch.contiguous_format) if tensor.ndim == 4 else tensor


def _contiguous_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_contiguous(value) if isinstance(value, torch.Tensor) else value for value in inputs)


def make_state(
    accelerator: Accelerator,
    model: nn.Module,
    *,
    optimizer: str,
    learning_rate: float,
    weight_decay: float,
    schedule: str,
    warmup: float,
    ema_decay: float,
    total_steps: int,
    memory_format: str = "channels_last",
    slower: Slower = NONE_SLOWER,
) -> TrainState:
    """Set up a training of `model` from its beginning. The slower parameters may also be frozen for some epochs."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        # Statistics of the global batch, as in a training by one process; the layer exists for GPUs only.
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    model = laid_out(model.to(accelerator.device), memory_format)
    average = None
    if ema_decay:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True)
    optim = make_optimizer(optimizer, model, learning_rate, weight_decay, slower)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optim, lambda step: schedule_factor(schedule, step, total_steps, warmup)
    )
    if slower.parameters:
        # Frozen ones have no gradient that the processes would wait for.
        handler = DistributedDataParallelKwargs(find_unused_parameters=True)
        accelerator.ddp_handler = handler  # pyright: ignore[reportAttributeAccessIssue]
    model, prepared = accelerator.prepare(model, optim)
    return TrainState(accelerator, model, prepared, scheduler, average)


def starting_state(
    config: TrainConfig, accelerator: Accelerator, network: nn.Module, steps: int, slower: Slower = NONE_SLOWER
) -> TrainState:
    """The beginning of a training of `network` by a configuration in which everything is decided; `steps` an epoch."""
    return make_state(
        accelerator,
        network,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        schedule=config.schedule,
        warmup=config.warmup,
        ema_decay=config.ema_decay,
        total_steps=config.epochs * steps,
        memory_format=config.memory_format,
        slower=slower,
    )


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
