"""What a comparison consists of."""

from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.config import CNN_GROUPS, CompareConfig


def test_groups_lists_and_cells() -> None:
    grid = make_grid(CompareConfig(models="small,resnet56,lenet5", datasets="digits", seeds=2, device="cpu", threads=1))
    assert grid.config.models == ",".join([*CNN_GROUPS["small"], "resnet56"]) and len(grid.cells) == 14
    assert grid.cells[0] == Cell("lenet5", "digits", 0) and grid.cells[7] == Cell("lenet5", "digits", 1)
    assert make_grid(CompareConfig(device="cpu", threads=1)).config.models == ",".join(CNN_GROUPS["small"])
