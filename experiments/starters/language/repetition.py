"""How much generated texts repeat themselves."""

import re
from collections import defaultdict
from collections.abc import Sequence

WORD = re.compile(r"\w+(?:'\w+)*")
LOOP_LENGTH = 4
LOOP_TIMES = 3
LOOP_WINDOW = 50


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without marks."""
    return WORD.findall(text.lower())


def loops(text: str) -> bool:
    """Whether the same 4 words stand in the same order 3 times or more, all within 50 words.

    Occurrences may overlap: "on and on and on and on" has "on and on and" twice and is on its way to a loop.
    """
    words = words_of(text)
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for start in range(len(words) - LOOP_LENGTH + 1):
        found = places[tuple(words[start : start + LOOP_LENGTH])]
        found.append(start)
        if len(found) >= LOOP_TIMES and start + LOOP_LENGTH - found[-LOOP_TIMES] <= LOOP_WINDOW:
            return True
    return False


def distinct(texts: Sequence[str], length: int) -> float:
    """Distinct-n (Li et al. 2016): different n-grams of words in all texts together, as a share of all n-grams.

    It falls with the amount of text: compare only what has as many words. 0 for texts without such an n-gram.
    """
    grams = [
        tuple(words[start : start + length])
        for words in map(words_of, texts)
        for start in range(len(words) - length + 1)
    ]
    return len(set(grams)) / max(1, len(grams))
