"""How long a grid will take: a few training steps measured beforehand, corrected by every cell that is finished."""

import time
from collections.abc import Iterable

import torch

import models
from experiments import devices
from experiments.augmentation import Batch
from experiments.classification import classification_step
from experiments.grid import Cell, DataShape, Grid, cell_config
from experiments.recipes import resolve
from experiments.state import make_state

STEPS, PATIENCE_SECONDS = 4, 1.5
SMALL_BATCH, BATCH = 8, 64
# A network that takes longer than this for a small batch is measured with small batches only.
SLOW_SECONDS = 0.3
EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
# What a training costs besides its steps, measured on two CPU cores: figures, model and registry; checkpoint and log.
SECONDS_PER_CELL, SECONDS_PER_EPOCH = 2.0, 0.05


def estimate(grid: Grid, cells: Iterable[Cell]) -> dict[Cell, float]:
    """Seconds that each cell will take. Raises nothing that the training would not raise."""
    speeds: dict[tuple[str, int, int], float] = {}
    estimates = {}
    for cell in cells:
        data = grid.data[cell.dataset]
        key = (cell.model, data.channels, len(data.classes))
        if key not in speeds:
            speeds[key] = seconds_per_image(cell.model, data, grid.config.device, grid.config.precision)
        epochs = resolve(cell_config(grid.config, cell)).epochs
        images = data.train + EVALUATION_SHARE * data.val
        estimates[cell] = epochs * (images * speeds[key] + SECONDS_PER_EPOCH) + SECONDS_PER_CELL
    return estimates


def seconds_per_image(model: str, data: DataShape, device: str, precision: str) -> float:
    """Time a network's training step, in the real precision, on noise."""
    accelerator = devices.make_accelerator(device, precision)
    network = models.build(model, len(data.classes), data.channels)
    state = make_state(accelerator, network, optimizer="sgd", learning_rate=1e-3, weight_decay=0.0,
                       schedule="constant", warmup=0.0, ema_decay=0.0, total_steps=1)  # fmt: skip
    step = classification_step()
    state.model.train()

    def train_on(size: int) -> float:
        images = torch.randn(size, data.channels, 32, 32, device=accelerator.device)
        labels = torch.zeros(size, dtype=torch.int64, device=accelerator.device)
        started = time.perf_counter()
        with accelerator.autocast():
            result = step(state.model, Batch(images.contiguous(memory_format=torch.channels_last), labels, size))
        accelerator.backward(result.loss / size)
        state.optimizer.step()
        state.optimizer.zero_grad()
        result.loss.item()  # waits for the device
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def fastest(size: int) -> float:
        train_on(size)  # the first step makes what later ones reuse
        times: list[float] = []
        while len(times) < STEPS and sum(times) < PATIENCE_SECONDS:
            times.append(train_on(size))
        return min(times)  # what else the machine did in between is not the network's fault

    small = fastest(SMALL_BATCH)
    return small / SMALL_BATCH if small > SLOW_SECONDS else fastest(BATCH) / BATCH


class Clock:
    """The time that a grid still needs: the estimates, scaled by how long finished cells really took."""

    def __init__(self, estimates: dict[Cell, float]) -> None:
        self.waiting = dict(estimates)
        self._estimated = self._taken = 0.0

    def finished(self, cell: Cell, seconds: float) -> None:
        """Count a cell that went through."""
        self._estimated += self.waiting.pop(cell)
        self._taken += seconds

    def dropped(self, cell: Cell) -> None:
        """Forget a cell that failed; how long it took says nothing."""
        self.waiting.pop(cell)

    @property
    def left(self) -> float:
        """Seconds."""
        return sum(self.waiting.values()) * (self._taken / self._estimated if self._estimated else 1.0)


def words(seconds: float) -> str:
    """A duration as people say it."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (36 * 3600, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.{int(unit == 3600)}f} {name}"
    return f"{seconds / 86400:.1f} days"
