"""With which settings a cell is trained: those that it began with, else those of the first of its other seeds."""

from types import SimpleNamespace
from typing import Any

import pytest

from experiments.comparison import run as tracked
from experiments.comparison.duration import Clock
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.runner import GridRunner
from experiments.comparison.tracked import errors_among
from experiments.config import CompareConfig
from experiments.training import devices


def run(seed: int, precision: str, status: str, hardware: str = "", model: str = "lenet5", **more: str) -> Any:
    params = {"seed": str(seed), "device": "cpu", "precision": precision, "memory_format": "contiguous", "threads": "7"}
    tags = {"model": model, "dataset": "digits", "hardware": hardware, **more}
    return SimpleNamespace(
        info=SimpleNamespace(run_id=f"run {seed}", status=status), data=SimpleNamespace(params=params, tags=tags)
    )


def trained_with(monkeypatch: pytest.MonkeyPatch, newest_first: list[Any], **given: Any) -> tuple[Any, list[str]]:
    """The configuration with which seed 1 is trained beside these runs, and the runs that it resumes."""
    grid = make_grid(CompareConfig(models="lenet5,resnet20", seeds=3, device="cpu", **given))
    seen: list[Any] = []
    monkeypatch.setattr(tracked, "nested", lambda _: newest_first)
    monkeypatch.setattr(tracked, "train_one_of_many", lambda *given: seen.append(given))
    tracked.TrackedRunner(grid, "parent", Clock({})).run(Cell("lenet5", "digits", 1))
    (_, config, _, cut_off, _), *_ = seen
    return config, cut_off


def test_a_training_that_was_cut_off_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run(1, "bf16", "KILLED"), run(0, "fp32", "FINISHED")]
    config, cut_off = trained_with(monkeypatch, runs)
    assert (config.precision, cut_off) == ("bf16", ["run 1"])


def test_other_seeds_take_the_choice_of_the_first_finished_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    other = run(0, "fp32", "FINISHED", model="resnet20")
    runs = [run(2, "fp32", "FINISHED"), run(0, "bf16", "RUNNING"), other]
    config, cut_off = trained_with(monkeypatch, runs)
    assert (config.precision, config.memory_format, cut_off) == ("bf16", "contiguous", [])
    assert config.threads == 0  # those of other hardware say nothing
    assert trained_with(monkeypatch, [other])[0].precision == "auto"
    assert trained_with(monkeypatch, runs, precision="fp32")[0].precision == "fp32"


def test_threads_hold_for_the_same_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    here = devices.describe("cpu")["hardware"]
    assert trained_with(monkeypatch, [run(0, "bf16", "RUNNING", here)])[0].threads == 7


def test_what_is_given_stays_and_what_is_open_is_as_in_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [run(0, "bf16", "RUNNING", devices.describe("cpu")["hardware"])]
    config, _ = trained_with(monkeypatch, others, precision="bf16")
    assert (config.memory_format, config.threads) == ("contiguous", 7)
    config, _ = trained_with(monkeypatch, others, threads=1)
    assert (config.precision, config.threads) == ("bf16", 1)
    config, _ = trained_with(monkeypatch, others, precision="fp32")  # those of bf16 say nothing
    assert (config.memory_format, config.threads) == ("auto", 0)


def test_a_report_says_what_the_newest_try_of_a_cell_ended_with() -> None:
    newest_first = [
        run(2, "fp32", "FAILED", error="out of memory"),
        run(1, "fp32", "KILLED"),
        run(1, "fp32", "FAILED", error="a disk was full"),
        run(0, "fp32", "FINISHED"),
    ]
    expected = {Cell("lenet5", "digits", 2): "out of memory", Cell("lenet5", "digits", 1): "cut off"}
    assert errors_among(newest_first) == expected


def test_a_line_counts_what_others_trained_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    grid, there = make_grid(CompareConfig(models="lenet5", seeds=2, device="cpu")), {}

    class BesideAnother(GridRunner):
        def finished(self) -> dict[Cell, str]:
            return dict(there)

        def run(self, cell: Cell) -> tuple[Any, bool]:  # noqa: ARG002
            there.update(dict.fromkeys(grid.cells, "finished"))
            return SimpleNamespace(metrics={"test_accuracy": 0.5}), True

    assert BesideAnother(grid, Clock(dict.fromkeys(grid.cells, 10.0))).train(str(grid.cells[0]))
    said = capsys.readouterr().out
    assert said.startswith("2/2  lenet5 on digits, seed 0: test accuracy 0.5000, ") and "left" not in said
