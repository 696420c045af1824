"""Intervals and paired tests, on cases small enough to be worked by hand."""

import numpy as np
import pytest
from scipy import stats

from experiments.reports.statistics import (
    Interval,
    bootstrap,
    holm,
    leading,
    mcnemar,
    median_interval,
    sign_flips,
    t_interval,
    wilson_interval,
)


def test_intervals_of_worked_cases_and_at_the_borders() -> None:
    # mean 2, standard deviation 1, three values: half width t(0.975, 2) / sqrt(3) = 4.302653 / 1.732051
    found = t_interval([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-5)
    # Wilson for 90 of 100 (Newcombe 1998 and any table): 0.8256 to 0.9448
    found = wilson_interval(0.9, 100)
    assert (found.low, found.high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert wilson_interval(1.0, 50).high == 1.0 and wilson_interval(1.0, 50).low < 0.95
    assert all(wilson_interval(0.0, total).low == 0.0 for total in (50, 500))
    # Of 11 values one may be left out at each end: 1 - 2 * (1 + 11) / 2^11 = 98.8 %; two would be 93.5 %.
    found = median_interval(list(range(11)))
    assert (found.mean, found.low, found.high) == (5, 1, 9) and not median_interval(list(range(5))).known


def test_mcnemar_and_holm_of_worked_cases() -> None:
    # 6 images only a has right, 1 only b: two-sided exact p = 2 * (C(7,0) + C(7,1)) / 2^7 = 16 / 128
    a = np.array([True] * 6 + [False] * 1 + [True] * 5)
    b = np.array([False] * 6 + [True] * 1 + [True] * 5)
    assert mcnemar(a, b) == (6, 1, pytest.approx(0.125)) and mcnemar(a, a) == (0, 0, 1.0)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_bootstrap_of_few_rows_is_as_wide_as_student_s_interval() -> None:
    values = np.random.default_rng(1).normal(size=10)
    found = bootstrap(values, np.ones(10))
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / np.sqrt(10)
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    assert bootstrap(values, np.ones(10)) == found  # a fixed seed


def test_flipped_signs_of_right_and_wrong_are_mcnemar_s_test_and_drawn_ones_come_near() -> None:
    a, b = np.array([1] * 9 + [0] * 3), np.array([0] * 7 + [1] * 5)
    assert sign_flips((a - b).astype(float))[0] == pytest.approx(mcnemar(a == 1, b == 1)[2])
    a, b = np.array([1] * 13 + [0] * 6), np.array([0] * 13 + [1] * 6)  # more rows than are gone through one by one
    p, test = sign_flips((a - b).astype(float))
    assert "drawn" in test and p == pytest.approx(mcnemar(a == 1, b == 1)[2], abs=0.02)
    assert sign_flips(np.zeros(4))[0] == 1


def test_leading_splits_what_overlaps_from_what_is_behind() -> None:
    values = {"a": Interval(0.5, 0.4, 0.6), "b": Interval(0.9, 0.8, 1.0), "c": Interval(0.85, 0.75, 0.95)}
    assert leading(values) == ("b", ["c"], ["a"])
    assert leading(values, lower_is_better=True) == ("a", [], ["c", "b"])
    # An unknown interval ranks nobody.
    assert leading({"a": Interval(1.0), "b": Interval(99.0)}, lower_is_better=True) == ("a", ["b"], [])
