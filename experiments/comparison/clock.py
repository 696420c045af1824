"""How long a grid will take: a few training steps measured beforehand, corrected by every cell that is finished."""

from collections.abc import Iterable

from experiments.comparison.grid import Grid
from experiments.comparison.kind import Cell

EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
# What a training costs besides its steps, measured on two CPU cores: figures, model and registry; checkpoint and log.
SECONDS_PER_CELL, SECONDS_PER_EPOCH = 2.0, 0.05


def estimate(grid: Grid, cells: Iterable[Cell]) -> dict[Cell, float]:
    """Seconds that each cell will take. Raises nothing that the training would not raise."""
    speeds: dict[tuple[str, str], float] = {}
    estimates = {}
    for cell in cells:
        data, key = grid.data[cell.dataset], (cell.model, cell.dataset)
        if key not in speeds:
            speeds[key] = grid.kind.seconds_per_example(cell, data, grid.config)
        epochs = grid.cell_config(cell).epochs
        examples = data.train + EVALUATION_SHARE * data.val
        estimates[cell] = epochs * (examples * speeds[key] + SECONDS_PER_EPOCH) + SECONDS_PER_CELL
    return estimates


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
