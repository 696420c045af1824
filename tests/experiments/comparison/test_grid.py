"""What a comparison consists of, and how long it will take."""

import pytest

from experiments.comparison import grid as grids
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.config import CNN_GROUPS, CompareConfig


def test_groups_lists_and_cells() -> None:
    grid = make_grid(CompareConfig(models="small,resnet56,lenet5", datasets="digits", seeds=2, device="cpu", threads=1))
    assert grid.config.models == ",".join([*CNN_GROUPS["small"], "resnet56"]) and len(grid.cells) == 14
    assert grid.cells[0] == Cell("lenet5", "digits", 0) and grid.cells[7] == Cell("lenet5", "digits", 1)
    assert make_grid(CompareConfig(device="cpu", threads=1)).config.models == ",".join(CNN_GROUPS["small"])


def test_the_clock_learns_from_what_is_finished() -> None:
    one, two, three = (Cell("lenet5", "digits", seed) for seed in range(3))
    clock = grids.Clock({one: 10.0, two: 20.0, three: 40.0})
    assert clock.left == 70
    clock.done(one, 5.0)
    assert clock.left == pytest.approx(30)
    clock.done(three, None)
    assert clock.left == pytest.approx(10)


def test_the_time_that_is_left_leaves_out_what_others_train() -> None:
    one, two, three = (Cell("lenet5", "digits", seed) for seed in range(3))
    clock = grids.Clock({one: 10.0, two: 10.0, three: 10.0})
    clock.done(one, 20.0)
    assert clock.left == 40.0
    clock.forget([one, two])
    clock.done(one, 5.0)  # trained again, after its worker was taken for dead
    assert clock.left == 20.0


@pytest.mark.parametrize("kind", ["cnn", "seq2seq"])
def test_a_training_step_is_timed(kind: str) -> None:
    grid = make_grid(CompareConfig(kind=kind, models="lenet5" if kind == "cnn" else "gru-dot", threads=1))
    (seconds,) = grids.estimate(grid, grid.cells).values()
    assert seconds > grids.SECONDS_PER_CELL
