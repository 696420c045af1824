"""The numbers of a comparison of registered models: intervals, paired tests, and what is said about them."""

import itertools
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy import stats

from experiments.comparison.results import mcnemar
from experiments.evaluation.analysis import analyse
from experiments.evaluation.labelled_csv import LabelledRows
from experiments.evaluation.leaderboard import Board, make_board
from experiments.evaluation.measure import Judged
from experiments.evaluation.plan import Plan
from experiments.evaluation.results import bootstrap, median_interval, metric_interval, pairs, rows_needed, sign_flips
from experiments.evaluation.tasks import JUDGES, Evaluation, RowScores
from tasks.registry import RegisteredVersion


def test_the_bootstrap_of_few_rows_is_as_wide_as_student_s_interval() -> None:
    values = np.random.default_rng(1).normal(size=10)
    found = bootstrap(values, np.ones(10))
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / np.sqrt(10)
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    assert bootstrap(values, np.ones(10)) == found  # a fixed seed


def test_a_row_with_more_weight_counts_for_more() -> None:
    scores = RowScores((0.0, 1.0, 2.0), (1.0, 1.0, 8.0))
    found = metric_interval(1.7, scores)
    assert found.mean == 1.7 and found.low < 1.7 < found.high <= 2
    perplexity = metric_interval(float(np.exp(1.7)), RowScores(scores.values, scores.weights, exponential=True))
    assert perplexity.low == pytest.approx(np.exp(found.low)) and perplexity.high == pytest.approx(np.exp(found.high))
    # A row without tokens has no say.
    assert metric_interval(1.0, RowScores((0.0, 1.0, 1.0), (0.0, 1.0, 1.0))).high == pytest.approx(1.0)


def test_right_rows_are_a_share_and_all_right_is_no_certainty() -> None:
    found = metric_interval(1.0, RowScores((1.0,) * 10))
    assert found.method == "Wilson" and 0.6 < found.low < 0.8 and found.high == pytest.approx(1)
    assert not metric_interval(0.5, RowScores((0.5,) * 10)).known  # equal, but no shares of right rows
    assert not metric_interval(0.5, None).known


@pytest.mark.parametrize("count", [6, 11, 20])
def test_the_median_s_interval_covers_it_in_95_of_100_cases(count: int) -> None:
    found = median_interval(list(range(count)))
    below = int(found.low)  # so many values are below the interval
    assert count - 1 - int(found.high) == below

    def coverage(outside: int) -> float:  # how often between 'outside' and count - outside of them are below it
        return 1 - 2 * float(stats.binom.cdf(outside, count, 0.5))

    assert coverage(below) >= 0.95 > coverage(below + 1)
    assert not median_interval(list(range(5))).known


def test_flipped_signs_count_every_way_for_few_rows() -> None:
    differences = np.array([0.3, 0.1, 0.0, 0.4, -0.2, 0.25])
    real = [0.3, 0.1, 0.4, -0.2, 0.25]
    sums = [abs(np.dot(signs, real)) for signs in itertools.product((1, -1), repeat=5)]
    assert sign_flips(differences)[0] == pytest.approx(np.mean([one >= abs(sum(real)) - 1e-9 for one in sums]))
    assert sign_flips(np.zeros(4))[0] == 1


def test_flipped_signs_of_right_and_wrong_are_mcnemar_s_test_and_drawn_ones_come_near() -> None:
    a, b = np.array([1] * 9 + [0] * 3), np.array([0] * 7 + [1] * 5)
    assert sign_flips((a - b).astype(float))[0] == pytest.approx(mcnemar(a == 1, b == 1)[2])
    a, b = np.array([1] * 13 + [0] * 6), np.array([0] * 13 + [1] * 6)  # more rows than are gone through one by one
    p, test = sign_flips((a - b).astype(float))
    assert "drawn" in test and p == pytest.approx(mcnemar(a == 1, b == 1)[2], abs=0.02)


def test_fewer_rows_than_needed_find_no_difference() -> None:
    for tests in (1, 3, 10):
        needed = rows_needed(tests)
        assert mcnemar(np.ones(needed, bool), np.zeros(needed, bool))[2] * tests < 0.05
        assert mcnemar(np.ones(needed - 1, bool), np.zeros(needed - 1, bool))[2] * tests >= 0.05


def test_pairs_know_which_way_is_better_and_account_for_their_number() -> None:
    scores = {"a": RowScores((1.0, 1.1, 1.2)), "b": RowScores((2.0, 2.2, 2.1)), "c": RowScores((2.0, 2.2, 2.2))}
    found = pairs("bits_per_byte", scores)
    assert [(pair.a, pair.b, pair.a_rows, pair.b_rows) for pair in found] == [
        ("a", "b", 3, 0), ("a", "c", 3, 0), ("b", "c", 1, 0)]  # fmt: skip
    assert found[0].difference.mean == pytest.approx(-1)
    assert all(pair.adjusted_p >= pair.p for pair in found) and found[0].adjusted_p == pytest.approx(3 * found[0].p)
    assert [(one.a_rows, one.b_rows) for one in pairs("f1", scores)] == [(0, 3), (0, 3), (0, 1)]


def version(name: str) -> RegisteredVersion:
    return RegisteredVersion(
        name=name, version=1, task="sentiment-analysis", model=name, champion=False, aliases=(), tags={},
        created=datetime.now(UTC), description="", run_id="", model_id="", source="",
    )  # fmt: skip


def board(answers: dict[str, list[int]], latency: dict[str, float] | None = None, **changes: Any) -> Board:
    """A board of made-up models by which rows they have right, and the seconds of their requests."""
    count = len(next(iter(answers.values())))
    rows = tuple({"text": "x", "label": "y"} for _ in range(count))
    versions = tuple(version(name) for name in answers)
    plan = Plan("sentiment-analysis", versions, LabelledRows("own.csv", rows, "0" * 64), {}, "cpu")
    judged = []
    for one in versions:
        right = tuple(map(float, answers[one.name]))
        metrics = {"accuracy": sum(right) / count, "f1": 0.5, "examples": float(count)}
        median = (latency or {}).get(one.name, 0.01)
        seconds = tuple(median * (1 + 0.01 * step) for step in range(-4, 5))
        facts: dict[str, Any] = {
            "seconds": seconds, "pace": (0.001,), "tokens": 10, "memory_bytes": 1000, "peak_growth": None,
            "load_seconds": 0.1, "evaluation_seconds": 0.1, **changes.get(one.name, {}),
        }  # fmt: skip
        judged.append(Judged(one, Evaluation(metrics, {"accuracy": RowScores(right)}, ("y",) * count), **facts))
    return make_board(plan, judged, changes.get("failures", {}))


def test_nothing_is_ranked_inside_an_interval() -> None:
    text = " ".join(analyse(board({"a": [1] * 8 + [0] * 2, "b": [1] * 6 + [0] * 4})))
    assert "a (a/1) has the highest accuracy on the 10 rows of own.csv, 80.0% [" in text
    assert "That does not put it ahead" in text and "no difference is found" in text and "Behind" not in text
    assert "10 rows are few: a model must do better on at least 6 of them" in text


def test_a_clear_difference_is_said() -> None:
    text = " ".join(analyse(board({"a": [0] * 150 + [1] * 50, "b": [1] * 190 + [0] * 10, "c": [1] * 185 + [0] * 15})))
    assert "b (b/1) has the highest accuracy" in text and "Not distinguishable from it" in text
    assert "Behind it, with an interval apart from its own: a (a/1) 25.0%." in text
    assert "b (b/1) is better than a (a/1) by 70.0% (better on 150 rows, worse on 10" in text
    assert "are few" not in text  # 200 are not


def test_too_few_rows_for_any_difference_are_called_that() -> None:
    assert "3 rows are too few to find any difference" in " ".join(analyse(board({"a": [1] * 3, "b": [0] * 3})))


def test_the_machine_s_own_pace_is_taken_into_account() -> None:
    rows = {"a": [1, 0], "b": [1, 0]}
    assert "a (a/1) answers fastest (median 10 ms over 9" in " ".join(analyse(board(rows, {"a": 0.01, "b": 0.03})))
    slowed = board(rows, {"a": 0.01, "b": 0.03}, b={"pace": (0.004,)})
    assert "the machine alone may explain it" in " ".join(analyse(slowed))
    assert "no model is the fastest" in " ".join(analyse(board(rows, {"a": 0.01, "b": 0.01001})))


def test_what_failed_is_said() -> None:
    found = board({"a": [1, 0]}, failures={"b (b/1)": "out of memory"})
    assert analyse(found)[-1] == "Not judged: b (b/1) (out of memory)."


def test_every_deciding_metric_names_its_direction() -> None:
    from experiments.evaluation.results import LOWER_IS_BETTER

    lower = {task for task, judge in JUDGES.items() if judge.deciding in LOWER_IS_BETTER}
    assert lower == {"story-completion"}
