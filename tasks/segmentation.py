"""Sentences, and texts divided between them: what sentencex does, and what runs on where it sees an end."""

import re
from collections.abc import Callable
from itertools import pairwise

from sentencex import get_sentence_boundaries  # pyright: ignore[reportAttributeAccessIssue]

# Abbreviations that sentencex does not know. Behind a measure a small letter or a number continues the sentence.
MEASURES = "approx|avg|cu|doz|eds?|eq|est|excl|hrs|incl|inst|kg|lbs|max|mins|misc|ml|pkg|pts|tbl?s|tbsp|temp|tsp|vol|wt"
TITLES = r"Amb|Atty|Ch|Eq|Figs|Ft|Ms|P\.S|Pls|Rm|Vol"
SPEAKER = r"(?:I|(?:(?:Mr|Mrs|Ms|Dr)\. )?(?!(?:He|She|It|We|You|They)\b)[A-Z][a-z]+)"
SPEAKS = "(?:asked|answered|called|cried|exclaimed|replied|said|shouted|whispered)"
# How a part ends, and how the next one begins, where both are one sentence.
RUNS_ON = tuple(
    (re.compile(rf"(?:{end})$"), re.compile(begin))
    for end, begin in (
        (rf"\b(?i:{MEASURES})\.", r"[a-z\d¼½¾⅓⅔(]"),
        (rf"\b(?:{TITLES})\.", ""),
        (r"\b[ap]\.m\.", r"(?:(?:[ACEMP][SD]?|CES|BS)T|GMT|UTC|\w{3,6}day)\b"),
        (r"[!?…][\"'”’]", rf"{SPEAKER} {SPEAKS}\b"),
        (r"(?:\A|[.!?:]\s+)\d{1,2}\.", r"[A-Z]"),  # the number of a step
    )
)
LONGEST_END = 20  # characters that any of the ends looks at


def sentences(text: str) -> list[str]:
    """The sentences of a text with what follows them, so that joined they are the text again.

    A line break is a blank unless a paragraph or a list says otherwise; a quotation is not divided. White space before
    the first sentence belongs to it. A text of nothing but white space is one sentence.
    """
    starts = [found["start_index"] for found in get_sentence_boundaries("en", text) if found["text"].strip()]
    borders = [0, *(start for start in starts[1:] if not _runs_on(text, start)), len(text)]
    return [text[start:end] for start, end in pairwise(borders) if start < end]


def _runs_on(text: str, place: int) -> bool:
    """Whether a sentence continues where sentencex sees its end."""
    before = text[max(0, place - 2 * LONGEST_END) : place]
    end = before.rstrip()
    if before.count("\n", len(end)) > 1:  # a paragraph ends here
        return False
    return any(ends.search(end[-LONGEST_END:]) and begins.match(text, place) for ends, begins in RUNS_ON)


def divide(text: str, room: int, count: Callable[[str], int]) -> list[str]:
    """A text in parts of about equal length with at most `room` tokens each, divided between sentences where possible.

    Where a sentence is too long, it is divided between words, and a word between characters. Joined, the parts are the
    text again. Args: count: how many tokens a text has.
    """
    tokens = count(text)
    if tokens <= room or len(text) == 1:
        return [text]
    for pieces in (sentences(text), re.findall(r"\s*\S+\s*", text), list(text)):
        groups = [""] * -(-tokens // room)
        end = 0
        for piece in pieces:
            middle = end + len(piece) / 2
            groups[int(middle / len(text) * len(groups))] += piece
            end += len(piece)
        parts = [group for group in groups if group]
        if len(parts) > 1:
            return [smaller for part in parts for smaller in divide(part, room, count)]
    return [text]
