"""What texts are before any model reads them: whether they can be used, their words."""

import re
from collections.abc import Iterable

MAX_TEXT_BYTES = 2**20
UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what decoders give for the first bytes of a character
# What spreadsheets take for the beginning of a formula, some of them also in its other widths.
SIGNS, DASHES = "=+@＝＋＠﹦﹢﹫⁼⁺₌₊", r"\-－﹣−"
# White space, controls, and characters without a width: a spreadsheet may pass over them.
UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\U000e0000-\U000e0fff"
)
# Of a text, or of a part of it that may become a cell (a dash and a blank begin a list).
FORMULA = re.compile(
    rf"^(?=[{UNSEEN}]*[{SIGNS}{DASHES}])|([;\t\r\n](?:(?![;\t\r\n])[{UNSEEN}\x22])*)(?=[{SIGNS}]|[{DASHES}]\S)"
)
# Chinese and Japanese are written without spaces.
UNSPACED = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
LETTER = rf"(?!{UNSPACED})\w"
WORD = re.compile(r"\w+(?:['’]\w+)*")
WORD_OR_SYMBOL = re.compile(rf"{WORD.pattern}|[\u2190-\u2bff\U0001f000-\U0001faff]")  # arrows, signs, emoji


def text_fault(text: str) -> str | None:
    """Why no model should see this text, as the rest of a sentence about it; None if it can be used.

    NUL ends strings in many libraries, and half of a surrogate pair has no UTF-8, which every tokenizer works on.
    """
    if len(text) > MAX_TEXT_BYTES:
        return f"has {len(text)} characters"
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        return f"has half of a surrogate pair at character {error.start + 1}"
    if size > MAX_TEXT_BYTES:
        return f"has {size} bytes"
    if "\0" in text:
        return f"has a NUL at character {text.index(chr(0)) + 1}"
    return None


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula: what would begin one gets an apostrophe in front.

    Also behind a semicolon, a tab or a line break: a spreadsheet may divide the line there.
    """
    safe = FORMULA.sub(r"\1'", text)
    return f"'{safe}" if safe[:1] in ("\t", "\r") else safe


def named_parts(parts: Iterable[str]) -> list[str]:
    """Parts of a text as an answer names them: each once, the first 20, none longer than 60 characters."""
    distinct = list(dict.fromkeys(filter(None, parts)))[:20]
    return [part if len(part) <= 60 else f"{part[:57]}..." for part in distinct]


def count_words(text: str) -> int:
    """How many words a text has."""
    return len(WORD.findall(text))


def format_duration(seconds: float) -> str:
    """A length of time: 12 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
