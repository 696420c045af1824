"""Metrics of texts against what they should be: fractions from 0 to 1.

Classification counts come from scikit-learn; the others are what their papers define, for English.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
WORDS = re.compile(r"\w+")


def accuracy_and_f1(predicted: Sequence[str], right: Sequence[str]) -> dict[str, float]:
    """`accuracy`, and `f1` averaged over the classes that occur in `right`."""
    from sklearn.metrics import accuracy_score, f1_score

    labels = sorted(set(right))
    f1 = f1_score(right, predicted, labels=labels, average="macro", zero_division=0)  # type: ignore[arg-type]
    return {"accuracy": float(accuracy_score(right, predicted)), "f1": float(f1)}


def squad(predicted: str, right: str) -> dict[str, float]:
    """`exact_match` and `f1` of an answer, as SQuAD defines them (Rajpurkar et al. 2016; 2018 for no answer).

    Case, punctuation, articles and white space do not count. An empty text says that there is no answer.
    """
    ours, theirs = _squad_words(predicted), _squad_words(right)
    exact = float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return {"exact_match": exact, "f1": _f1(common, len(ours), len(theirs)) if ours and theirs else exact}


def best(
    metric: Callable[[str, str], dict[str, float]], predicted: str, several_right: Sequence[str]
) -> dict[str, float]:
    """Each score of a metric beside the right answer where it is highest, as SQuAD has it."""
    found = [metric(predicted, right) for right in several_right]
    return {name: max(scores[name] for scores in found) for name in found[0]}


def _squad_words(text: str) -> list[str]:
    without = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return ARTICLES.sub(" ", without).split()


def rouge(predicted: str, right: str) -> dict[str, float]:
    """`rouge1`, `rouge2` and `rougeL`: F1 of common words, word pairs, and the longest common subsequence of words.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", with lower-cased words as they are, not stemmed.
    """
    ours, theirs = (WORDS.findall(text.lower()) for text in (predicted, right))
    longest = longest_common_subsequence(ours, theirs)
    return {
        "rouge1": _rouge_n(ours, theirs, 1),
        "rouge2": _rouge_n(ours, theirs, 2),
        "rougeL": _f1(longest, len(ours), len(theirs)),
    }


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
