"""The numbers of a comparison of registered models: intervals, paired tests, and what is said about them."""

from datetime import UTC, datetime

import numpy as np
import pytest

from experiments.evaluation.labeled_csv import LabeledRows
from experiments.evaluation.leaderboard import Leaderboard, make_leaderboard, metric_interval, pairs, rows_needed
from experiments.evaluation.measure import Measured
from experiments.evaluation.page import analyze
from experiments.evaluation.plan import EvaluationPlan
from experiments.evaluation.tasks import TASK_METRICS, Evaluation, RowScores
from experiments.reports.statistics import mcnemar
from tasks.metrics import METRICS
from tasks.registry import RegisteredVersion


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


def test_fewer_rows_than_needed_find_no_difference() -> None:
    for tests in (1, 3, 10):
        needed = rows_needed(tests)
        assert mcnemar(np.ones(needed, bool), np.zeros(needed, bool))[2] * tests < 0.05
        assert mcnemar(np.ones(needed - 1, bool), np.zeros(needed - 1, bool))[2] * tests >= 0.05


def test_pairs_know_which_way_is_better_and_account_for_their_number() -> None:
    scores = {"a": RowScores((1.0, 1.1, 1.2)), "b": RowScores((2.0, 2.2, 2.1)), "c": RowScores((2.0, 2.2, 2.2))}
    found = pairs("bits_per_byte", scores)
    assert [(pair.a, pair.b, pair.a_better, pair.b_better) for pair in found] == [
        ("a", "b", 3, 0),
        ("a", "c", 3, 0),
        ("b", "c", 1, 0),
    ]
    assert found[0].difference.mean == pytest.approx(-1)
    assert all(pair.adjusted_p >= pair.p for pair in found) and found[0].adjusted_p == pytest.approx(3 * found[0].p)
    assert [(one.a_better, one.b_better) for one in pairs("f1", scores)] == [(0, 3), (0, 3), (0, 1)]


def version(name: str) -> RegisteredVersion:
    now = datetime.now(UTC)
    return RegisteredVersion(name, 1, "sentiment-analysis", name, False, (), {}, now, "", "", "", "")


def leaderboard(answers: dict[str, list[int]]) -> Leaderboard:
    """A leaderboard of made-up models by which rows they have right."""
    count = len(next(iter(answers.values())))
    rows = tuple({"text": "x", "label": "y"} for _ in range(count))
    versions = tuple(version(name) for name in answers)
    plan = EvaluationPlan("sentiment-analysis", versions, LabeledRows("own.csv", rows, "0" * 64), {}, "cpu")
    measured = []
    for one in versions:
        right = tuple(map(float, answers[one.name]))
        metrics = {"accuracy": sum(right) / count, "f1": 0.5, "examples": float(count)}
        found = Evaluation(metrics, {"accuracy": RowScores(right)}, ("y",) * count)
        measured.append(Measured(one, found, (0.01,) * 9, {}))
    return make_leaderboard(plan, measured, {})


def test_every_deciding_metric_names_its_direction() -> None:
    deciding = {task: METRICS[task_metrics.headline] for task, task_metrics in TASK_METRICS.items()}
    assert {task for task, metric in deciding.items() if metric.lower_is_better} == {"story-completion"}
    assert all(metric.decides for metric in deciding.values())


def said(found: Leaderboard) -> str:
    return " ".join(analyze(found))


def test_nothing_is_ranked_inside_an_interval() -> None:
    text = said(leaderboard({"a": [1] * 8 + [0] * 2, "b": [1] * 6 + [0] * 4}))
    assert "a (a/1) has the highest accuracy on 10 rows of own.csv, 80.0% [" in text
    assert "No model is ahead" in text and "find no difference" in text and "Behind" not in text
    assert "10 rows find only large differences: one model must do better on at least 6" in text


def test_a_clear_difference_is_said() -> None:
    text = said(leaderboard({"a": [0] * 150 + [1] * 50, "b": [1] * 190 + [0] * 10, "c": [1] * 185 + [0] * 15}))
    assert "b (b/1) has the highest accuracy" in text and "overlapping intervals: c (c/1) (92.5%)" in text
    assert "Behind it: a (a/1) (25.0%)." in text and "b (b/1) is better than a (a/1)" in text
    assert "large differences" not in text  # 200 rows are enough


def test_too_few_rows_for_any_difference_are_called_that() -> None:
    assert "3 rows cannot find any difference" in said(leaderboard({"a": [1] * 3, "b": [0] * 3}))
