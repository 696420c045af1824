"""The stories that the language model learns from, and which of them are held out.

A story is held out by the hash of its first sentence, so that stories with the same opening, of which many collections
hold several versions, never stand on both sides.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experiments.config import UserError
from experiments.starters.corpora import digest, held_out, text_file

BORDER = "<|endoftext|>"
TEST_SHARE = 0.05
VAL_SHARE = 0.02
SHORTEST = 100  # characters of a story
# A sentence or a title ends here.
OPENING_END = re.compile(r"(?<=[.!?])[\"')\]]*\s|\n")
# Characters as they look after UTF-8 was read as Windows-1252, as in part of TinyStories. The closing quotation mark
# has lost its last byte there, so the shortest pattern comes last.
MISREAD = {"â€œ": '"', "â€™": "'", "â€˜": "'", "â€“": "–", "â€”": "—", "â€¦": "...", "Ã©": "é", "Ã±": "ñ", "â€": '"'}
TYPOGRAPHIC = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "´": "'", "…": "...", "\u00a0": " "}


@dataclass(frozen=True)
class Source:
    """One collection of stories: its folder under `text/`, its file, its licence as the model card names it."""

    folder: str
    file: str
    licence: str


SOURCES = (
    Source("tinystories", "tinystories_sample.txt", "CDLA-Sharing-1.0"),
    Source("stories/tinystories-arnoochka-truecased", "stories.txt", "CDLA-Sharing-1.0"),
    Source("stories/tinystories-czhou578", "stories.txt", "CDLA-Sharing-1.0"),
    Source("stories/pratham-storyweaver", "stories-cc-by.txt", "CC-BY"),
    Source("stories/african-storybook", "stories-cc-by.txt", "CC-BY"),
    Source("stories/aesop-emorynlp", "aesop4children.txt", "public domain"),
)


@dataclass(frozen=True)
class Stories:
    """The stories by part, each in the order of the files; `sha256` is of all, `split_sha256` of those held out."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    sha256: str
    split_sha256: str


def cleaned(text: str) -> str:
    """A text with plain quotation marks, mended characters, and no white space at the ends of its lines."""
    for table in (MISREAD, TYPOGRAPHIC):
        for wrong, right in table.items():
            text = text.replace(wrong, right)
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r" ?\n ?", "\n", text).strip()


def opening(story: str) -> str:
    """The first sentence (or the title) of a story, in small letters and without marks."""
    return letters(OPENING_END.split(story, maxsplit=1)[0])


def letters(text: str) -> str:
    """What of a text counts in comparing it with another: its words, in small letters."""
    return " ".join(re.findall(r"\w+", text.lower()))


def divide(stories: Iterable[str]) -> Stories:
    """Drop what is too short, unfinished or there already; hold out 5 % for testing and 2 % for validation.

    A story is unfinished if it does not end with the end of a sentence: where a collection was cut off.
    """
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    seen: set[str] = set()
    for story in stories:
        plain = letters(story)
        if len(story) < SHORTEST or story[-1] not in ".!?\"')" or plain in seen:
            continue
        seen.add(plain)
        first = opening(story)
        part = "test" if held_out(first, TEST_SHARE) else "val" if held_out(first, VAL_SHARE, "validation") else "train"
        parts[part].append(story)
    train, val, test = (tuple(parts[name]) for name in ("train", "val", "test"))
    return Stories(train, val, test, digest((*train, *val, *test)), digest((*val, *test)))


def read_stories(data_dir: str | Path) -> Stories:
    """All stories of the sources. Raises UserError, in one line, for a missing file or a part without a story."""
    found: list[str] = []
    for source in SOURCES:
        text = text_file(data_dir, source.folder, source.file).read_text(encoding="utf-8")
        found += map(cleaned, text.split(BORDER))
    stories = divide(found)
    for name in ("train", "val", "test"):
        if not getattr(stories, name):
            raise UserError(f"the stories under {data_dir} are too few: none is left for {name}")
    return stories
