"""Sentences, and texts divided between them: what sentencex does, and what runs on where it sees an end."""

import re
from collections.abc import Callable
from itertools import pairwise

from sentencex import get_sentence_boundaries  # pyright: ignore[reportAttributeAccessIssue]

# Abbreviations that sentencex does not know. Behind a measure a small letter or a number continues the sentence.
MEASURES = "approx|avg|cu|doz|eds?|eq|est|excl|hrs|incl|inst|kg|lbs|max|mins|misc|ml|pkg|pts|tbl?s|tbsp|temp|tsp|vol|wt"
TITLES = r"Amb|Atty|Br|Ch|Eq|Figs|Ft|Lk|Ms|P\.S|Pls|Profs|Pt|Rm|Vol"
PLACES = "App|Apt|Bldg|Cor|Def|Eqs|Ex|Lem|Para|Prop|Rte|Ste|Tab|Thm"
ZONES = (
    r"(?:(?:(?:[ACEMP][SD]?|CES|BS)T|GMT|UTC|\w{3,6}day|Eastern|Central|Mountain|Pacific)\b|"
    r"(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\.)"
)
NO_SPEAKERS = "He|She|It|We|You|They|The|An?|This|That|His|Her|My|Nobody|No|Every(?:one|body)|Someone|Then|But|And"
SPEAKER = rf"(?:I|(?!(?:{NO_SPEAKERS})\b)(?:[A-Z][\w'’-]*\.?\s+){{0,3}}[A-Z][\w'’-]+)"
SPEAKS = (
    "(?:asked|answered|called|cried|demanded|exclaimed|inquired|insisted|murmured|muttered|replied|said|screamed|"
    "shouted|snapped|whispered|wondered|yelled)"
)
# How a part ends, and how the next one begins, where both are one sentence.
RUNS_ON = tuple(
    (re.compile(rf"(?:{end})$"), re.compile(begin))
    for end, begin in (
        (rf"\b(?i:{MEASURES})\.", r"[a-z\d¼½¾⅓⅔($€£~–−-]"),
        (rf"\b(?:{TITLES})\.", ""),
        (rf"\b(?:{PLACES})\.", r"\d|[A-Z]+\b"),
        (r"\bdeg\.", r"[CF]\b"),
        (r"\b[ap]\.m\.", ZONES),
        (r"[!?…][\"'”’]", rf"{SPEAKER}\s+{SPEAKS}\b"),
    )
)
LONGEST_END = 20  # characters that any of the ends looks at
LONGEST_QUOTATION = 2000
STEP = re.compile(r"\s*\d{1,2}\.\s*")  # the number of one
SHORT_WORD = re.compile(r"\b[^\W\d_]{1,5}\.$")
SMALL_WORD = re.compile(r"[a-z](?!\w*[A-Z])")  # eBay is none
GLUED = re.compile(r"(?<=[A-Za-z]\.)(?=[!-~])(?!(?<=[a-z]\.)[A-Z][a-z'’\s])")  # ASP.NET, but not Tuesday.The
# Ends that sentencex overlooks where the next sentence begins with a word that is rarely the first.
OVERLOOKED = re.compile(
    rf"(?:\b(?:etc|mins?|hrs?)\.|\d\s?°?[CF]\.|\bdeg(?:rees|\.) [CF]\.|[?!]{{2}}|…|\b(?:{PLACES})\. [A-Z]\.)"
    rf"[\"'”’)]*\s+(?=[\"'“‘(]?[A-Z])|\b(?:[ap]\.m|[AP]\.M)\.\s+(?!{ZONES})(?=[A-Z][a-z]+\s)"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text with what follows them, so that joined they are the text again.

    A line break is a blank unless a paragraph or a list says otherwise; a quotation is not divided. White space before
    the first sentence belongs to it. A text of nothing but white space is one sentence.
    """
    found = [one["start_index"] for one in get_sentence_boundaries("en", text) if one["text"].strip()]
    overlooked = (end.end() for end in OVERLOOKED.finditer(text))
    starts = sorted({*found, *(place for place in overlooked if not _is_quoted(text, place))} - {0})
    capitalized = sum(_capital(text, start) for start in [0, *starts]) > 0
    borders = [0]
    for start in starts:
        step = STEP.fullmatch(text, borders[-1], start)
        if not step and not _runs_on(text, start, capitalized=capitalized):
            borders.append(start)
    return [text[start:end] for start, end in pairwise([*borders, len(text)]) if start < end]


def _capital(text: str, start: int) -> float:
    """How much a start speaks for sentences that begin with capitals: a small letter may follow an abbreviation."""
    if not text[start : start + 1].isalpha():
        return 0
    before = text[max(0, start - LONGEST_END) : start].rstrip()
    return 1 if text[start].isupper() else -0.5 if SHORT_WORD.search(before) else -1


def _is_quoted(text: str, place: int) -> bool:
    """Whether a quotation of the same paragraph is open."""
    before = text[max(0, place - LONGEST_QUOTATION) : place].rpartition("\n\n")[2]
    return before.count('"') % 2 == 1 or before.count("“") > before.count("”")


def _runs_on(text: str, place: int, *, capitalized: bool) -> bool:
    """Whether a sentence continues where sentencex sees its end.

    Args: capitalized: whether sentences of this text begin with capital letters.
    """
    before = text[max(0, place - 2 * LONGEST_END) : place]
    end = before.rstrip()
    if before.count("\n", len(end)) > 1:  # a paragraph ends here
        return False
    if GLUED.match(text, place) or (capitalized and SHORT_WORD.search(end) and SMALL_WORD.match(text, place)):
        return True
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
