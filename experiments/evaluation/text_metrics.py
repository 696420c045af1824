"""Metrics of texts against what they should be. Each is a function of plain lists and returns shares from 0 to 1.

Classification counts come from scikit-learn; the others are what their papers define, for English.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
WORDS = re.compile(r"\w+")


def accuracy_and_f1(predicted: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """`accuracy`, and `f1` averaged over the classes that occur in `right`."""
    from sklearn.metrics import accuracy_score, f1_score

    labels = sorted(set(right))
    f1 = f1_score(right, predicted, labels=labels, average="macro", zero_division=0)  # type: ignore[arg-type]
    return {"accuracy": float(accuracy_score(right, predicted)), "f1": float(f1)}


def squad(predicted: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """`exact_match` and `f1` of answers, as SQuAD defines them (Rajpurkar et al. 2016; 2018 for no answer).

    Case, punctuation, articles and white space do not count. An empty text says that there is no answer.
    """
    pairs = [(_squad_words(one), _squad_words(other)) for one, other in zip(predicted, right, strict=True)]
    exact = sum(one == other for one, other in pairs)
    return {"exact_match": exact / len(pairs), "f1": sum(_squad_f1(*pair) for pair in pairs) / len(pairs)}


def _squad_words(text: str) -> list[str]:
    without = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return ARTICLES.sub(" ", without).split()


def _squad_f1(predicted: list[str], right: list[str]) -> float:
    if not predicted or not right:
        return float(predicted == right)
    return _f1((Counter(predicted) & Counter(right)).total(), len(predicted), len(right))


def rouge(predicted: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """`rouge1`, `rouge2` and `rougeL`: F1 of common words, word pairs, and the longest common subsequence of words.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", with lower-cased words as they are, not stemmed.
    """
    split = [[WORDS.findall(text.lower()) for text in texts] for texts in (predicted, right)]
    pairs = list(zip(*split, strict=True))
    scores = {
        "rouge1": [_rouge_n(one, other, 1) for one, other in pairs],
        "rouge2": [_rouge_n(one, other, 2) for one, other in pairs],
        "rougeL": [_f1(longest_common_subsequence(one, other), len(one), len(other)) for one, other in pairs],
    }
    return {name: sum(values) / len(values) for name, values in scores.items()}


def _rouge_n(predicted: list[str], right: list[str], n: int) -> float:
    ours, theirs = (Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in (predicted, right))
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length. Time and memory: the product, and the sum, of both lengths."""
    row = [0] * (len(other) + 1)
    for word in one:
        previous = row
        row = [0]
        for column, candidate in enumerate(other):
            row.append(previous[column] + 1 if word == candidate else max(previous[column + 1], row[column]))
    return row[-1]


def _f1(common: int, predicted: int, right: int) -> float:
    """Harmonic mean of precision and recall from counts; 0 without anything in common."""
    return 2 * common / (predicted + right) if common else 0.0
