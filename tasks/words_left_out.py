"""Leave-one-out importance: how a classifier's answer changes without each word of a text."""

import re

from tasks.texts import LETTER, UNSPACED

MOST_PARTS = 64
# Words, marks between them, and emoji; Chinese and Japanese characters one by one.
PART = re.compile(rf"{UNSPACED}|(?:{LETTER})+(?:['’-](?:{LETTER})+)*|[^\w\s]+")
CLOSES = re.compile(r"\s|[,.;:!?)\]}”’»]|$")


def parts_to_leave_out(text: str) -> list[tuple[int, int]]:
    """Where the words and marks of a text are, as (start, end); beyond MOST_PARTS, neighbors together.

    What a classifier says without each of them shows its effect. Leave-one-out: Li et al., "Understanding Neural
    Networks through Representation Erasure", 2016; occlusion in pictures: Zeiler & Fergus, ECCV 2014.
    """
    found = [match.span() for match in PART.finditer(text)]
    together = -(-len(found) // MOST_PARTS)
    groups = [found[first : first + together] for first in range(0, len(found), together or 1)]
    return [(group[0][0], group[-1][1]) for group in groups]


def left_out(text: str, start: int, end: int) -> str:
    """A text without a part of it, and without a space that then meets another one or a closing mark."""
    before, after = text[:start], text[end:]
    if not before:
        return after.lstrip()
    return before.rstrip() + after if CLOSES.match(after) else before + after
