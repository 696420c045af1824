"""Metrics of classifiers, counted by hand."""

import numpy as np
import pytest

from experiments.cnn.classification import calibration_error
from experiments.reports.classification import Predictions, classification_metrics


def predictions(labels: list[int], predicted: list[int], classes: int) -> Predictions:
    return Predictions(np.array(labels), np.eye(classes, dtype=np.float32)[predicted], 0.5)


def test_metrics_equal_those_of_a_hand_count() -> None:
    metrics = classification_metrics(predictions([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 1], 3))
    # Class 0: 2 of 3 predicted are right, 2 of 3 found. Class 1: 1 of 3, 1 of 2. Class 2: never predicted.
    assert metrics["accuracy"] == pytest.approx(3 / 6)
    assert metrics["precision"] == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)
    assert metrics["recall"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert metrics["f1"] == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)
    assert metrics["loss"] == 0.5


def test_calibration_error_of_a_worked_case() -> None:
    # Two images at confidence 0.9, one right: gap 0.4. Two at 0.6, both right: gap 0.4. One at 1.0, right: gap 0.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [1.0, 0.0]])
    assert calibration_error(np.array([0, 1, 0, 0, 0]), probabilities) == pytest.approx(4 / 5 * 0.4)


def test_a_class_that_is_neither_there_nor_predicted_still_counts() -> None:
    metrics = classification_metrics(predictions([0, 1], [0, 1], 4))
    assert (metrics["accuracy"], metrics["f1"]) == (1.0, 0.5)
