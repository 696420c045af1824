"""What README and docs say of the small networks and of images per second is what the files beside it say."""

import csv
import re
import statistics
from pathlib import Path

import pytest

from tests.conftest import PROJECT_ROOT

RESULTS = PROJECT_ROOT / "docs" / "results"
GRIDS = {
    "MNIST": ("mnist", RESULTS / "seeds" / "small-mnist"),
    "Fashion-MNIST": ("fashion_mnist", RESULTS / "seeds" / "small-fashion-mnist"),
    "CIFAR-10": ("cifar10", RESULTS / "seeds" / "small-cifar10"),
}
Row = dict[str, str]


def table(markdown: str, first: str) -> dict[str, Row]:
    """The rows of the first table whose first row holds `first`, by their first cell; links are left out of titles."""
    lines = iter(markdown[markdown.index(first) :].splitlines())
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", next(lines))
    titles = [title.strip() for title in plain.strip("|").split("|")]
    next(lines)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
        rows[cells[0]] = dict(zip(titles, cells, strict=True))
    return rows


def section(dataset: str) -> str:
    text = (RESULTS / "README.md").read_text()
    return text[text.index(f"## The six small networks on {dataset}\n") :]


def rows_of(path: Path) -> list[Row]:
    return list(csv.DictReader(path.read_text().splitlines()))


def by_model(path: Path) -> dict[str, Row]:
    return {row["model"]: row for row in rows_of(path)}


def agrees(shown: str, *values: float | str) -> bool:
    """Whether the numbers in a cell are these, each rounded to the digits that it has.

    The files have six digits, and a page may have been made from all of them: the last digit may be off by that.
    """
    numbers = re.findall(r"\d[\d,]*(?:\.\d+)?", shown)
    return len(numbers) == len(values) and all(
        abs(float(number.replace(",", "")) - float(value)) <= 0.51 * 10.0 ** -len(number.partition(".")[2])
        for number, value in zip(numbers, values, strict=True)
    )


@pytest.mark.parametrize("dataset", GRIDS)
def test_the_matrix_of_the_readme_is_that_of_the_leaderboards(dataset: str) -> None:
    shown = table((PROJECT_ROOT / "README.md").read_text(), "| | [MNIST]")
    found = by_model(GRIDS[dataset][1] / "leaderboard.csv")
    assert shown.keys() == found.keys() and len(found) == 6
    best = max(found.values(), key=lambda row: float(row["accuracy"]))
    for model, row in found.items():
        half = (float(row["accuracy_high"]) - float(row["accuracy_low"])) / 2
        level = float(row["accuracy_high"]) >= float(best["accuracy_low"]) and row is not best
        assert agrees(shown[model][dataset], row["accuracy"], half), model
        assert shown[model][dataset].endswith(" =") == level, model
        if dataset == "CIFAR-10":
            assert agrees(shown[model]["macro F1 (CIFAR-10)"], row["f1"])
            assert agrees(shown[model]["parameters (CIFAR-10)"], row["parameters"])
            seconds = [
                float(cell["seconds"]) for cell in rows_of(GRIDS[dataset][1] / "cells.csv") if cell["model"] == model
            ]
            assert agrees(shown[model]["minutes, one core (CIFAR-10)"], statistics.median(seconds) / 60)


@pytest.mark.parametrize("dataset", GRIDS)
def test_the_tables_of_the_results_are_those_of_the_files(dataset: str) -> None:
    name, folder = GRIDS[dataset]
    shown, found = table(section(dataset), "| model |"), by_model(folder / "leaderboard.csv")
    cells = rows_of(folder / "cells.csv")
    assert list(shown) == list(found) and {cell["dataset"] for cell in cells} == {name}
    for model, row in found.items():
        mine, here = [cell for cell in cells if cell["model"] == model], shown[model]
        assert [cell["seed"] for cell in mine] == row["seeds"].split() == ["0", "1", "2"]
        mean = statistics.mean(float(cell["accuracy"]) for cell in mine)
        assert mean == pytest.approx(float(row["accuracy"]), abs=1e-5)
        assert agrees(here["test accuracy"], row["accuracy"]), model
        assert agrees(here["95 % interval (seeds)"], row["accuracy_low"], row["accuracy_high"]), model
        for title, column in (("precision", "precision"), ("recall", "recall"), ("F1", "f1")):
            assert agrees(here[f"macro {title}"], row[column]), (model, title)
        assert agrees(here["loss"], row["loss"]) and agrees(here["ECE"], row["ece"]), model
        assert {here["epochs"]} == {cell["epochs"] for cell in mine}
        assert agrees(here["images seen"], int(row["examples"]) / 1e6), model
        seconds = sorted(float(cell["seconds"]) for cell in mine)
        assert agrees(here["seconds, one core"], seconds[1], seconds[0], seconds[2]), model


def test_what_is_said_of_single_files_is_in_them() -> None:
    quiet = by_model(RESULTS / "seeds" / "small-fashion-mnist" / "two-quiet-cores.csv")
    (said,) = re.findall(r"the same epochs took \[([^]]*)\]", section("Fashion-MNIST"))
    found = dict(re.findall(r"(\d+)(?: s)?\s\((\w+)\)", said))
    assert {model: f"{float(row['seconds']):.0f}" for model, row in quiet.items()} == {m: s for s, m in found.items()}

    for name in ("alexnet_small-17-epochs", "alexnet_small-before"):
        accuracies = [100 * float(row["accuracy"]) for row in rows_of(RESULTS / "recipes" / f"{name}.csv")]
        half = 4.302653 * statistics.stdev(accuracies) / 3**0.5  # Student's t, two degrees of freedom
        mean = statistics.mean(accuracies)
        (said,) = re.findall(rf"\[([\d.]+)\]\(recipes/{name}.csv\) \(([^;)]*)[;)]", section("CIFAR-10"))
        assert agrees(said[0], mean) and agrees(said[1], mean - half, mean + half), name


WAYS = {
    "plain: no workers": ("plain", "fp32", "contiguous", "0"),
    "plain: two workers": ("plain", "fp32", "contiguous", "2"),
    "fp32": ("ours", "fp32", "contiguous", ""),
    "fp32, channels_last": ("ours", "fp32", "channels_last", ""),
    "bf16": ("ours", "bf16", "contiguous", ""),
    "bf16, channels_last": ("ours", "bf16", "channels_last", ""),
}


def test_the_table_of_images_per_second_is_that_of_the_files() -> None:
    shown = table((PROJECT_ROOT / "docs" / "cpu-gpu.md").read_text(), "| | plain: no workers")
    files = (RESULTS / "throughput" / f"{kind}-cifar10.csv" for kind in ("small", "full"))
    measured = [row for file in files for row in rows_of(file) if not row["threads"]]  # with all threads
    assert shown.keys() == {row["model"] for row in measured} and len(measured) == len(WAYS) * len(shown)
    for model, here in shown.items():
        mine = [row for row in measured if row["model"] == model]
        for title, way in WAYS.items():
            (row,) = (m for m in mine if (m["loop"], m["precision"], m["memory_format"], m["workers"]) == way)
            assert agrees(here[title], row["images_per_second"], row["lowest"], row["highest"]), (model, title)
        best = max(mine, key=lambda row: float(row["images_per_second"]))
        assert agrees(here["speed-up of the fastest"], best["to_plain_same_threads"], best["to_plain_best"]), model
