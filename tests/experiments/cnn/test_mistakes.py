"""Which of the wrong answers are kept as pictures."""

import numpy as np

from experiments.cnn.report import PICTURES_A_CELL, most_confident_errors

# Two classes; images 0 and 4 are right, 1 to 3 are a taken for b, 5 is b taken for a.
LABELS = np.array([0, 0, 0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.55, 0.45]])


def test_the_surest_of_every_kind_come_first() -> None:
    assert most_confident_errors(LABELS, PROBABILITIES, 100).tolist() == [2, 5, 3, 1]
    assert most_confident_errors(LABELS, PROBABILITIES, 2).tolist() == [2, 5]  # one of each, however few may be kept


def test_many_of_one_kind_are_cut_and_none_are_none() -> None:
    wrong = np.tile([[0.1, 0.9]], (PICTURES_A_CELL + 5, 1))
    assert len(most_confident_errors(np.zeros(len(wrong), int), wrong, 100)) == PICTURES_A_CELL
    kept = most_confident_errors(np.ones(len(wrong), int), wrong, 100)
    assert len(kept) == 0 and kept.dtype.kind == "i"
