"""A small grid that is trained without MLflow, and what lies in its folder."""

from pathlib import Path

from experiments import compare
from experiments.comparison.folder import Packed, ResultsFolder
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult

TINY = ["--models", "lenet5,resnet20", "--epochs", "2", "--train_size", "200", "--threads", "1"]
TIMED = {"epoch_seconds", "examples_per_second"}
LENET, RESNET = Cell("lenet5", "digits", 0), Cell("resnet20", "digits", 0)


def offline(out: Path, *arguments: str) -> CompareResult:
    """What `compare --tracking none` reports."""
    result = compare.main([*TINY, "--tracking", "none", "--out", str(out), *arguments])
    assert isinstance(result, CompareResult)
    return result


def packed(out: Path) -> dict[Cell, Packed]:
    folder = ResultsFolder(out)
    return folder.finished(folder.grid(folder.saved_grid("out")))
