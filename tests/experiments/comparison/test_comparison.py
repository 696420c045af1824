"""The numbers and words of a comparison, on cases small enough to be worked by hand."""

import math

import numpy as np
import pytest

from experiments.cnn.classification import calibration_error
from experiments.comparison.analysis import analyse
from experiments.comparison.cnn import CnnKind, network_cost
from experiments.comparison.page import Section, page
from experiments.comparison.results import (
    ClassifierResult,
    Interval,
    Row,
    confusion,
    holm,
    interval,
    leaderboard,
    leading,
    mcnemar,
    paired_tests,
    t_interval,
    wilson_interval,
)


def cell(model: str, seed: int, wrong: int, total: int = 1000, seconds: float = 1.0) -> ClassifierResult:
    """A training that has the first `wrong` of its test images wrong, all with confidence 0.9."""
    labels = np.arange(total) % 2
    predicted = np.where(np.arange(total) < wrong, 1 - labels, labels)
    probabilities = np.full((total, 2), 0.1, np.float32)
    probabilities[np.arange(total), predicted] = 0.9
    share = 1 - wrong / total
    test = {"test_loss": 1 - share, **{f"test_{name}": share for name in ("accuracy", "precision", "recall", "f1")}}
    history = {name: np.full(2, 0.5) for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")}
    history |= {"epoch_seconds": np.full(2, seconds / 2), "examples_per_second": np.full(2, 100.0)}
    return ClassifierResult(model, "digits", seed, "run", test, history, 1, labels, probabilities)


COSTS = {"a": (10, 100), "b": (20, 50), "c": (30, 200)}


def test_t_interval_of_a_worked_case() -> None:
    # mean 2, standard deviation 1, three values: half width t(0.975, 2) / sqrt(3) = 4.302653 / 1.732051
    found = t_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-5)


@pytest.mark.parametrize("values", [[0.9], [0.9] * 3, [355 / 359] * 3])  # the last deviate from their mean, rounded
def test_without_spread_seeds_say_nothing_and_accuracy_falls_back_to_the_test_images(values: list[float]) -> None:
    assert not t_interval(values).known
    found, wanted = interval("accuracy", values, 100), wilson_interval(values[0], 100)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert not interval("f1", values, 100).known


def test_wilson_interval_of_a_worked_case_and_at_the_borders() -> None:
    # Wilson for 90 of 100 (Newcombe 1998 and any table): 0.8256 to 0.9448
    found = wilson_interval(0.9, 100)
    assert (found.low, found.high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson_interval(1.0, 50).high == 1.0 and wilson_interval(1.0, 50).low < 0.95
    assert all(wilson_interval(0.0, total).low == 0.0 for total in (50, 500))


def test_intervals_of_shares_stay_within_zero_and_one() -> None:
    found = interval("accuracy", [0.9, 0.99], 100)
    assert found.low == pytest.approx(0.945 - 12.7062 * 0.045, abs=1e-3) and found.high == 1.0
    assert interval("loss", [0.1, 1.0], 100).high > 1


def test_calibration_error_of_a_worked_case() -> None:
    # Two images at confidence 0.9, one right: gap 0.4. Two at 0.6, both right: gap 0.4. One at 1.0, right: gap 0.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [1.0, 0.0]])
    assert calibration_error(np.array([0, 1, 0, 0, 0]), probabilities) == pytest.approx(4 / 5 * 0.4)


def test_mcnemar_of_a_worked_case() -> None:
    # 6 images only a has right, 1 only b: two-sided exact p = 2 * (C(7,0) + C(7,1)) / 2^7 = 16 / 128
    a = np.array([True] * 6 + [False] * 1 + [True] * 5)
    b = np.array([False] * 6 + [True] * 1 + [True] * 5)
    assert mcnemar(a, b) == (6, 1, pytest.approx(0.125))
    assert mcnemar(b, a) == (1, 6, pytest.approx(0.125))
    assert mcnemar(a, a) == (0, 0, 1.0)


def test_holm_of_a_worked_case() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_paired_tests_take_a_common_seed_and_skip_other_test_images() -> None:
    tests = paired_tests([cell("a", 0, 10), cell("a", 1, 10), cell("b", 1, 40), cell("c", 1, 5, total=900)])
    assert [(test.a, test.b, test.seed, test.only_a, test.only_b) for test in tests] == [("a", "b", 1, 30, 0)]
    assert tests[0].adjusted_p == tests[0].p < 1e-6


def test_confusion_counts_every_image_of_every_seed() -> None:
    matrix = confusion([cell("a", 0, 10), cell("a", 1, 20)])
    assert matrix.tolist() == [[985, 15], [15, 985]]


def test_leaderboard_orders_by_mean_accuracy_and_has_every_metric() -> None:
    rows = leaderboard([cell("a", 0, 50), cell("b", 0, 10), cell("a", 1, 30)], COSTS, CnnKind.metrics)
    assert [row.model for row in rows] == ["b", "a"]
    assert rows[1].seeds == (0, 1) and rows[1].values["accuracy"].mean == pytest.approx(0.96)
    assert set(rows[0].values) == set(CnnKind.metrics) and (rows[0].parameters, rows[0].flops) == (20, 50)


def words(*cells: ClassifierResult) -> str:
    rows = leaderboard(cells, COSTS, CnnKind.metrics)
    return " ".join(analyse(rows, paired_tests(cells), cells, ("zero", "one")))


def test_nothing_is_ranked_inside_an_interval() -> None:
    text = words(cell("a", 0, 30), cell("b", 0, 31), cell("c", 0, 29))
    assert "No model is ahead" in text and "finds no difference" in text
    assert "Behind" not in text and "above all others" not in text and "trained fastest" not in text


def test_what_lies_outside_the_interval_is_said_to_be_behind() -> None:
    text = words(cell("a", 0, 30), cell("b", 0, 32), cell("c", 0, 300))
    assert "Not distinguishable from it, because the intervals overlap: b (96.80%)." in text
    assert "Behind it, with an interval below its own: c (70.00%)" in text
    assert "a and b right more often than c" in text or "right more often than c" in text
    assert "says nothing of what another seed would give" in text


def test_one_model_ahead_of_all_stands_alone() -> None:
    text = words(cell("a", 0, 1), cell("b", 0, 200), cell("c", 0, 300))
    assert "Its interval lies above all others" in text and "a stands alone; its cost: 10 parameters" in text


def test_an_unknown_interval_ranks_nobody() -> None:
    values = {"seconds": Interval(1.0)}
    rows = [Row("a", "digits", (0,), values, 1, 1), Row("b", "digits", (0,), {"seconds": Interval(99.0)}, 1, 1)]
    best, tied, behind = leading(rows, "seconds")
    assert (best.model, [row.model for row in tied], behind) == ("a", ["b"], [])
    assert math.isnan(values["seconds"].low)


def test_over_fitting_and_hard_classes_are_named() -> None:
    over = cell("a", 0, 30)
    over = ClassifierResult(
        **{**vars(over), "history": {**over.history, "val_loss": np.array([0.2, 0.5]), "train_accuracy": np.ones(2)}}
    )
    text = words(over, cell("b", 0, 30))
    assert "a (validation loss rises from 0.200 in epoch 1 to 0.500 and at the end training accuracy is 50.0" in text
    assert "zero taken for one (30 of 60 mistakes)" in text


def test_costs_are_those_of_a_worked_case() -> None:
    parameters, flops = network_cost("lenet5", 10, 1)
    assert parameters == 61_706  # LeCun et al. 1998 in its common form
    # 2 x (28*28*6*25 + 10*10*16*150 + 400*120 + 120*84 + 84*10)
    assert flops == 2 * (28 * 28 * 6 * 25 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10)


def test_the_page_is_self_contained_and_escapes_what_it_shows() -> None:
    rows = tuple(leaderboard([cell("a", 0, 30)], COSTS, CnnKind.metrics))
    section = Section("digits", CnnKind.metrics, rows, (), ("1 < 2 & so on",), (("a <figure>", b"png"),))
    html = page(
        "models <x>",
        [section],
        {"machine": "<cpu>"},
        {"a on digits, seed 1": "<script>alert(1)</script>"},
        ("notes & more",),
    )
    assert "<script" not in html and "&lt;script&gt;" in html and "1 &lt; 2 &amp; so on" in html
    assert "http" not in html and 'src="data:image/png;base64,' in html and "prefers-color-scheme: dark" in html
