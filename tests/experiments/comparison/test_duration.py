"""How long a comparison will take, and what is left of it."""

import pytest

from experiments.comparison import duration as durations
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.config import CompareConfig


def cells(model: str) -> list[Cell]:
    return [Cell(model, "digits", seed) for seed in range(2)]


def test_a_first_small_cell_does_not_speak_for_the_large_ones() -> None:
    (small, _), (large, again) = cells("lenet5"), cells("resnet20")
    clock = durations.Clock({small: 10.0, large: 100.0, again: 100.0})
    assert clock.left == 210
    clock.done(small, 20.0)  # start-up: twice its estimate, and the others take what was estimated
    assert clock.left == pytest.approx(200 * (70 + 20) / (70 + 10))
    clock.done(large, 150.0)  # what another seed took counts, not its estimate
    assert clock.left == 150


def test_failed_and_resumed_cells_say_nothing_of_the_others() -> None:
    (one, two), (three, _) = cells("lenet5"), cells("resnet20")
    clock = durations.Clock({one: 10.0, two: 10.0, three: 40.0})
    clock.done(one, None)
    assert clock.left == 50


def test_the_time_left_is_shared_with_workers_that_trained_some_cells() -> None:
    cells = [Cell("lenet5", "digits", seed) for seed in range(6)]
    clock = durations.Clock(dict.fromkeys(cells, 10.0))
    clock.done(cells[0], 12.0)
    assert clock.left == 5 * 12
    clock.forget(cells[:3])  # two of them by others: three workers
    assert clock.left == 3 * 12 / 3
    clock.done(cells[3], None)  # failed
    assert clock.left == 2 * 12 / 3


def test_the_time_that_is_left_leaves_out_what_others_train() -> None:
    one, two = cells("lenet5")
    clock = durations.Clock({one: 10.0, two: 10.0})
    clock.forget([two])
    assert clock.left == 10
    clock.done(two, 5.0)  # trained again, after its worker was taken for dead
    assert clock.left == 10


def test_the_last_seed_is_trained_longest_first_unless_it_is_the_first() -> None:
    (one, two), (three, four) = cells("lenet5"), cells("resnet20")
    clock = durations.Clock({one: 10.0, two: 10.0, three: 40.0, four: 40.0})
    assert clock.in_order([one, three, two, four]) == [one, three, four, two]
    assert clock.in_order([one, three]) == [one, three]
    assert clock.in_order([]) == []


@pytest.mark.parametrize("kind", ["cnn", "seq2seq"])
def test_a_training_step_is_timed(kind: str) -> None:
    grid = make_grid(CompareConfig(kind=kind, models="lenet5" if kind == "cnn" else "gru-dot", threads=1))
    (seconds,) = durations.estimate(grid, grid.cells).values()
    assert seconds > durations.SECONDS_PER_CELL
