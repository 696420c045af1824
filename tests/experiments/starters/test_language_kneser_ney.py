"""The n-gram model beside which the language model is measured: by hand, by the formulas word for word, and as a
distribution."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from experiments.starters.language import kneser_ney
from experiments.starters.language.kneser_ney import FALLBACK, KneserNey, discounts

END, WORDS = 0, 6


def texts_of(*rows: Sequence[int]) -> list[np.ndarray]:
    return [np.array(row, dtype=np.int16) for row in rows]


def random_texts(count: int, seed: int) -> list[np.ndarray]:
    """Texts in which words depend on the ones before, so that counts of all sizes come up."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words = [int(rng.integers(1, WORDS))]
        while rng.random() < 0.9:
            words.append(1 + (words[-1] + int(rng.choice([0, 1, 2, 3], p=[0.5, 0.3, 0.15, 0.05]))) % (WORDS - 1))
        found.append(np.array(words, dtype=np.int16))
    return found


def test_two_short_texts_by_hand() -> None:
    # "a b a" and "a b", with the end token E around them. The discounts are the fallback: 0.5, 1, 1.5.
    a, b = 1, 2
    model = KneserNey(texts_of([a, b, a], [a, b]), words=3, end=END, order=2)
    # Different words before a: E, b; before b: a; before E: a, b: 5 in all. Discounts 1 + 0.5 + 1, shared by 3 words.
    single = {a: 1 / 5 + 0.5 / 3, b: 0.5 / 5 + 0.5 / 3, END: 1 / 5 + 0.5 / 3}
    # After a: b twice, E once. After b: a once, E once. After the beginning: a twice.
    expected = {
        (a, b): (2 - 1) / 3 + (1 + 0.5) / 3 * single[b],
        (a, END): (1 - 0.5) / 3 + (1 + 0.5) / 3 * single[END],
        (a, a): (1 + 0.5) / 3 * single[a],
        (b, a): (1 - 0.5) / 2 + (0.5 + 0.5) / 2 * single[a],
        (END, a): (2 - 1) / 2 + 1 / 2 * single[a],
        (END, b): 1 / 2 * single[b],
    }
    for (before, word), probability in expected.items():
        history = [] if before == END else [before]
        assert model.distribution(history)[word] == pytest.approx(probability)
    scores = model.log_probabilities(texts_of([a, b]))
    assert scores.tolist() == pytest.approx([math.log(expected[END, a]), math.log(expected[a, b]),
                                             math.log((1 - 0.5) / 2 + 0.5 * single[END])])  # fmt: skip


def test_discounts_are_those_of_equation_17() -> None:
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])  # n1 = 4, n2 = 2, n3 = 1, n4 = 1; Y = 4 / (4 + 2 * 2)
    assert discounts(counts) == pytest.approx((1 - 2 * 0.5 * 2 / 4, 2 - 3 * 0.5 * 1 / 2, 3 - 4 * 0.5 * 1 / 1))
    assert discounts(np.array([1, 1, 2, 3])) == FALLBACK  # none of count 4


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_the_textbook_model(order: int) -> None:
    texts, unseen = random_texts(60, seed=1), random_texts(10, seed=2)
    model, textbook = KneserNey(texts, words=WORDS, end=END, order=order), Textbook(texts, order)
    expected = [
        math.log(textbook.probability((END, *text[:place].tolist()), word))
        for text in unseen
        for place, word in enumerate([*text.tolist(), END])
    ]
    assert model.log_probabilities(unseen).tolist() == pytest.approx(expected)


def test_no_discount_was_guessed_in_the_comparison_with_the_textbook(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(kneser_ney, "discounts", lambda counts: used.append(discounts(counts)) or used[-1])
    KneserNey(random_texts(60, seed=1), words=WORDS, end=END, order=3)
    assert len(used) == 3 and used[-1] != FALLBACK


@pytest.mark.parametrize("history", [(), (1,), (2, 3), (1, 2, 3, 4, 5, 1), (5, 5, 5, 5, 5, 5)])
def test_probabilities_sum_to_one(history: tuple[int, ...]) -> None:
    model = KneserNey(random_texts(40, seed=3), words=WORDS, end=END)
    after = model.distribution(history)
    assert after.shape == (WORDS,) and (after > 0).all() and after.sum() == pytest.approx(1)


def test_a_longer_memory_helps_where_there_is_something_to_remember() -> None:
    # Each second word is that of two words before: pairs of words say nothing of it.
    rng = np.random.default_rng(0)
    texts = [np.tile(rng.integers(1, WORDS, size=2), 6).astype(np.int16) for _ in range(80)]
    scores = [KneserNey(texts[:60], words=WORDS, end=END, order=n).log_probabilities(texts[60:]).mean() for n in (1, 3)]
    assert scores[1] > scores[0] + 0.5


class Textbook:
    """The formulas of Chen and Goodman word for word, over dictionaries of n-grams."""

    def __init__(self, texts: Sequence[np.ndarray], order: int) -> None:
        self.order = order
        rows = [[END, *text.tolist(), END] for text in texts]
        raw = [Counter(tuple(row[i : i + n]) for row in rows for i in range(len(row) - n + 1))
               for n in range(1, order + 1)]  # fmt: skip
        self.counts: list[dict[tuple[int, ...], int]] = []
        for n in range(1, order + 1):
            if n == order:
                counts = dict(raw[n - 1])
            else:
                counts = dict(Counter(gram[1:] for gram in raw[n]))
                # What begins a text has nothing before it: its own count stands.
                counts |= {gram: c for gram, c in raw[n - 1].items() if n > 1 and gram[0] == END}
            if n == 1 and order == 1:
                counts[END,] = len(texts)  # the ends, without the beginnings, which are not predicted
            self.counts.append(counts)
        self.discounts = [discounts(np.array(list(counts.values()))) for counts in self.counts]

    def probability(self, history: tuple[int, ...], word: int) -> float:
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        return self._probability(history, word)

    def _probability(self, history: tuple[int, ...], word: int) -> float:
        n = len(history) + 1
        lower = self._probability(history[1:], word) if history else 1 / WORDS
        after = {gram[-1]: count for gram, count in self.counts[n - 1].items() if gram[:-1] == history}
        total = sum(after.values())
        if not total:
            return lower
        steps = (0.0, *self.discounts[n - 1])
        left = sum(steps[min(count, 3)] for count in after.values())
        count = after.get(word, 0)
        return (count - steps[min(count, 3)]) / total + left / total * lower
