"""The numbers and words of a comparison, on cases small enough to be worked by hand."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.comparison import figures
from experiments.comparison.cnn import CnnKind, network_flops
from experiments.comparison.report import text_table
from experiments.comparison.results import (
    ClassifierResult,
    Findings,
    find,
    interval,
    leaderboard,
    paired_tests,
    shown,
)
from experiments.reports import figures as report_figures
from experiments.reports.page import pairs_table
from experiments.reports.statistics import t_interval, wilson_interval


def cell(model: str, seed: int, wrong: int, total: int = 1000, seconds: float = 1.0) -> ClassifierResult:
    """A training that has the first `wrong` of its test images wrong."""
    labels = np.arange(total) % 2
    right = np.arange(total) >= wrong
    share = 1 - wrong / total
    test = {"test_loss": 1 - share, **{f"test_{name}": share for name in ("accuracy", "precision", "recall", "f1")}}
    history = {name: np.full(2, 0.5) for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")}
    history |= {"epoch_seconds": np.full(2, seconds / 2), "examples_per_second": np.full(2, 100.0)}
    return ClassifierResult(
        model=model,
        dataset="digits",
        seed=seed,
        run_id="run",
        test=test,
        history=history,
        best_epoch=1,
        parameters={"a": 10, "b": 20, "c": 30}[model],
        examples=600 + 100 * seed,
        answers=labels,
        right=right,
        predicted=np.where(right, labels, 1 - labels),
    )


FLOPS = {"a": 100, "b": 50, "c": 200}


@pytest.mark.parametrize("values", [[0.9], [0.9] * 3, [355 / 359] * 3])  # the last deviate from their mean, rounded
def test_without_spread_seeds_say_nothing_and_accuracy_falls_back_to_the_test_images(values: list[float]) -> None:
    assert not t_interval(values).known
    found, wanted = interval("accuracy", values, 100), wilson_interval(values[0], 100)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert not interval("f1", values, 100).known


def test_intervals_of_shares_stay_within_zero_and_one() -> None:
    found = interval("accuracy", [0.9, 0.99], 100)
    assert found.low == pytest.approx(0.945 - 12.7062 * 0.045, abs=1e-3) and found.high == 1.0
    assert interval("loss", [0.1, 1.0], 100).high > 1


def test_metrics_are_written_with_the_digits_that_matter_also_those_that_are_new() -> None:
    values = {"accuracy": 0.98765, "kappa": 0.98765, "seconds": 1234.56, "examples_per_second": 1234.56}
    assert [shown(*one) for one in values.items()] == ["0.9877", "0.9877", "1,234.6", "1,235"]


def test_paired_tests_take_common_seeds_and_skip_other_test_images() -> None:
    tests = paired_tests([cell("a", 0, 10), cell("a", 1, 10), cell("b", 1, 40), cell("c", 1, 5, total=900)])
    assert [(test.a, test.b, test.seed, test.a_better, test.b_better) for test in tests] == [("a", "b", 1, 30, 0)]
    assert tests[0].adjusted_p == tests[0].p < 1e-6


def test_paired_tests_are_adjusted_seed_by_seed() -> None:
    tests = paired_tests(
        [cell(model, seed, wrong) for seed in (1, 0) for model, wrong in (("a", 10), ("b", 16), ("c", 10))]
    )
    assert [(test.a, test.b, test.seed) for test in tests] == [
        (a, b, seed) for seed in (0, 1) for a, b in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    assert [test.p for test in tests] == pytest.approx([1 / 32, 1, 1 / 32] * 2)
    assert [test.adjusted_p for test in tests] == pytest.approx([3 / 32, 1, 3 / 32] * 2)


def test_models_differ_if_every_seed_says_so_in_the_same_direction() -> None:
    wrong = {"a": (10, 10, 10), "b": (30, 31, 32), "c": (40, 10, 40)}
    found = findings(*(cell(model, seed, of[seed]) for model, of in wrong.items() for seed in range(3)))
    assert found.analysis[1] == (
        "Paired tests on the same test images (3 pairs, 3 seeds, Holm-adjusted) find differences at 5% that every seed "
        "shows: a is better than b."
    )
    turned = findings(cell("a", 0, 10), cell("b", 0, 30), cell("a", 1, 30), cell("b", 1, 10))
    assert turned.analysis[1].endswith("find no difference at 5% that every seed shows.")
    lacking = findings(
        *(cell(model, seed, 10 * seed + 1) for model, seed in (("a", 0), ("a", 1), ("b", 1), ("c", 1), ("c", 0)))
    )
    assert "(3 pairs, 1 to 2 seeds that both have, Holm-adjusted)" in lacking.analysis[1]
    assert lacking.analysis[2] == "Not every model has all 2 seeds: b has 1."
    table = pairs_table(found.pairs, "images", str)
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("a – b", "3 / 0 / 0"),
        ("b – c", "2 / 1 / 0"),
        ("a – c", "2 / 0 / 1"),
    ]
    assert table.marks == {0: "strong"} and "largest p" in table.note


def test_leaderboard_orders_by_mean_accuracy_and_has_every_metric() -> None:
    rows = leaderboard([cell("a", 0, 50), cell("b", 0, 10), cell("a", 1, 30)], CnnKind.metrics, FLOPS)
    assert [row.model for row in rows] == ["b", "a"]
    assert rows[1].seeds == (0, 1) and rows[1].values["accuracy"].mean == pytest.approx(0.96)
    assert set(rows[0].values) == set(CnnKind.metrics)
    assert [(row.examples, row.parameters, row.flops) for row in rows] == [(600, 20, 50), (650, 10, 100)]


def test_flops_are_those_of_a_worked_case() -> None:
    # 2 x (28*28*6*25 + 10*10*16*150 + 400*120 + 120*84 + 84*10)
    assert network_flops("lenet5", 10, 1) == 2 * (
        28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    )


def findings(*cells: ClassifierResult) -> Findings:
    return find(cells, CnnKind.metrics, "images", FLOPS)


def test_nothing_is_ranked_inside_an_interval() -> None:
    found = findings(cell("a", 0, 30), cell("b", 0, 31), cell("c", 0, 29))
    text = " ".join(found.analysis)
    assert "No model is ahead" in text and "find no difference" in text and "Behind" not in text
    assert "over-fitting" not in text
    assert [line[:3] for line in text_table(found)[1].splitlines()[1:]] == ["  c", "= a", "= b"]


def test_models_with_the_same_mean_lead_together() -> None:
    level = findings(cell("a", 0, 10), cell("b", 0, 10), cell("c", 0, 60)).analysis[0]
    assert level.startswith("a and b have the highest mean test accuracy, 0.9900. Not distinguishable from a, ")
    assert "Behind a: c (" in level
    none_behind = findings(cell("a", 0, 10), cell("b", 0, 10), cell("c", 0, 11)).analysis[0]
    assert "No model is ahead: all intervals overlap with that of a (b (0.9900), c (0.9890))." in none_behind


def test_seeds_that_some_lack_are_shown() -> None:
    lacking = text_table(findings(cell("a", 0, 30), cell("a", 1, 31), cell("b", 1, 30)))[1]
    assert "seeds" in lacking and " 0 1 " in lacking
    assert "seeds" not in text_table(findings(cell("a", 0, 30), cell("b", 0, 31)))[1]


def test_what_lies_outside_the_interval_is_said_to_be_behind() -> None:
    text = " ".join(findings(cell("a", 0, 30), cell("b", 0, 32), cell("c", 0, 300)).analysis)
    assert "overlapping intervals: b (0.9680). Behind it: c (0.7000)." in text
    assert "a is better than c; b is better than c" in text
    assert "apart from all others" in " ".join(findings(cell("a", 0, 1), cell("b", 0, 200)).analysis)


def test_over_fitting_is_named() -> None:
    fine = cell("a", 0, 30)
    over = dataclasses.replace(fine, history={**fine.history, "val_loss": np.array([0.2, 0.5])})
    text = " ".join(findings(over, cell("b", 0, 30)).analysis)
    assert "validation loss rises again with a (from 0.200 in epoch 1 to 0.500)." in text


def test_figures_say_how_many_images_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    for module in (figures, report_figures):
        monkeypatch.setattr(module, "save", lambda figure, _: drawn.append(figure))
    cells = [cell("a", 0, 10), cell("b", 0, 40)]
    figures.save_curves(Path("curves.png"), cells, "accuracy", "curves", "images")
    figures.save_costs(Path("costs.png"), find(cells, CnnKind.metrics, "images", FLOPS), ["a", "b"])
    curves, costs = ([axes.get_xlabel() for axes in figure.axes if axes.get_visible()] for figure in drawn)
    assert curves == ["epoch of 300 training images", "seconds of training"]
    assert costs == ["parameters", "FLOPs per image", "training images seen", "seconds of training"]


def test_curves_that_are_perfect_from_the_first_epoch_have_room(tmp_path: Path) -> None:
    one = cell("a", 0, 0)
    perfect = dataclasses.replace(one, history={**one.history, "val_accuracy": np.ones(2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.save_curves(tmp_path / "curves.png", [perfect], "accuracy", "curves", "images")
