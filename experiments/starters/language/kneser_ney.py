"""The n-gram model that the language model is measured beside: interpolated, modified Kneser-Ney smoothing.

S. F. Chen and J. Goodman (1999), "An empirical study of smoothing techniques for language modeling", Computer Speech
and Language 13, with the discounts of their equation 17. As in KenLM, n-grams at the beginning of a text, which have
nothing before them, keep their own counts in lower orders, and single words are mixed with the uniform distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDER = 5
# Discounts of counts 1, 2 and 3 or more where the texts are too few to estimate them, as in KenLM.
FALLBACK = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length n, sorted.

    Attributes:
        keys: int64 `(n-grams,)`, the place of the n-gram's first n - 1 words among those of length n - 1, times the
            size of the vocabulary, plus the last word.
        discounted: `(n-grams,)`, their count less the discount, as a share of the count of their context.
        rest: `(contexts,)`, the probability that a context leaves to the lower order; 1 for one that nothing follows.
    """

    keys: np.ndarray
    discounted: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class _Table:
    """The different n-grams of one length in some texts.

    Attributes:
        keys: as in `_Order`.
        counts: how often each stands there.
        first: a position in the stream where each ends.
        begins: whether each begins with the beginning of a text.
        found: `(stream,)`, which n-gram ends at a position; -1 where none does.
    """

    keys: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    begins: np.ndarray
    found: np.ndarray


class KneserNey:
    """A model of texts as arrays of tokens. `end` stands before each text, where it is given, and after it, where it
    is predicted like the others."""

    def __init__(self, texts: Sequence[np.ndarray], *, words: int, end: int, order: int = ORDER) -> None:
        """Count. Args: words: size of the vocabulary, whose tokens are 0 to words - 1; order: longest n-gram."""
        self.words, self.end = words, end
        self.orders: list[_Order] = []
        stream, place = _stream(texts, end)
        contexts = np.zeros(len(stream), dtype=np.int64)  # of a single word: the empty one
        tables: list[_Table] = []
        for length in range(1, order + 1):
            tables.append(_count(stream, place, contexts, length, words))
            # What begins a text is a context too, though it is never predicted: single words stand for themselves.
            contexts = _shifted(stream if length == 1 else tables[-1].found)
        for length, table in enumerate(tables, start=1):
            counts = table.counts
            if length < order:  # how many different words stand before it
                before = np.bincount(table.found[tables[length].first], minlength=len(table.keys))
                counts = np.where(table.begins, counts, before)
            size = (1, words)[length - 1] if length <= 2 else len(tables[length - 2].keys)
            self.orders.append(_order(table.keys, counts, table.keys // words, size))

    def log_probabilities(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """The natural logarithm of the probability of each token of the texts and of each text's end, in order."""
        stream, place = _stream(texts, self.end)
        return np.log(self._probabilities(stream, place)[place >= 1])

    def distribution(self, history: Sequence[int]) -> np.ndarray:
        """The probabilities of all tokens after the beginning of a text, `(words,)`."""
        each = np.arange(self.words)
        rows = np.tile(np.array([self.end, *history, 0], dtype=np.int64), (self.words, 1))
        rows[:, -1] = each
        place = np.tile(np.arange(rows.shape[1]), self.words)
        return self._probabilities(rows.ravel(), place).reshape(rows.shape)[:, -1]

    def _probabilities(self, stream: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Of each word after those before it in its text; of the end token before a text without meaning."""
        probability = np.full(len(stream), 1 / self.words)
        contexts = np.zeros(len(stream), dtype=np.int64)
        for length, order in enumerate(self.orders, start=1):
            known = (contexts >= 0) & (place >= max(1, length - 1))
            context = np.where(known, contexts, 0)
            index, seen = _look_up(order.keys, context * self.words + stream)
            seen &= known
            share = np.where(seen, order.discounted[index], 0.0)
            probability = np.where(known, share + order.rest[context] * probability, probability)
            contexts = _shifted(stream if length == 1 else np.where(seen, index, -1))
        return probability


def _stream(texts: Sequence[np.ndarray], end: int) -> tuple[np.ndarray, np.ndarray]:
    """All texts with the end token before and after each, int64, and the place of each word in its text, from 0."""
    border = np.array([end], dtype=np.int64)
    stream = np.concatenate([part for text in texts for part in (border, text.astype(np.int64), border)])
    place = np.concatenate([np.arange(len(text) + 2) for text in texts])
    return stream, place


def _count(stream: np.ndarray, place: np.ndarray, contexts: np.ndarray, length: int, words: int) -> _Table:
    """The n-grams of a length. Args: contexts: for each position, which context stands before it."""
    here = np.flatnonzero(place >= max(1, length - 1))
    keys, first, index, counts = np.unique(
        contexts[here] * words + stream[here], return_index=True, return_inverse=True, return_counts=True
    )
    found = np.full(len(stream), -1)
    found[here] = index
    return _Table(keys, counts, here[first], place[here[first]] == length - 1, found)


def _shifted(values: np.ndarray) -> np.ndarray:
    """What stood one word before."""
    return np.concatenate([[-1], values[:-1]])


def _look_up(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where sorted keys hold the wanted ones, and whether they do."""
    index = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return index, keys[index] == wanted


def _order(keys: np.ndarray, counts: np.ndarray, contexts: np.ndarray, size: int) -> _Order:
    """Discount the counts of the n-grams of one length. Args: contexts: that of each n-gram, of `size` contexts."""
    steps = np.array([0.0, *discounts(counts)])
    taken = steps[counts.clip(max=3)]
    totals = np.bincount(contexts, weights=counts, minlength=size)
    left = np.bincount(contexts, weights=taken, minlength=size)
    rest = np.divide(left, totals, out=np.ones(size), where=totals > 0)
    shares = np.divide(counts - taken, totals[contexts], out=np.zeros(len(keys)), where=totals[contexts] > 0)
    return _Order(keys, shares, rest)


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """What is taken off counts of 1, of 2, and of 3 or more (Chen and Goodman 1999, equation 17)."""
    n1, n2, n3, n4 = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    if not all((n1, n2, n3, n4)):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    estimated = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    inside = all(0 <= value <= number for number, value in enumerate(estimated, start=1))
    return estimated if inside else FALLBACK
