"""The conversations that the chatbot learns from, and which of them are held out.

A conversation is held out by the hash of its first turn, so that those that begin alike stand on one side.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.config import UserError
from experiments.starters.corpora import digest, held_out, text_file, text_folder
from experiments.starters.language.stories import letters, read_stories
from tasks.json_files import parse_json

TEST_SHARE = 0.05
VAL_SHARE = 0.02
SELF_DIALOGUE = "self_dialogue.jsonl"
# Of the ChatterBot corpus: what people say to each other. Questions of knowledge are left out: a model as small as this
# would learn to make answers up. In `emotion` what follows the first line are different replies to it.
CHATTERBOT = (
    "ai", "botprofile", "conversations", "emotion", "food", "greetings", "health", "humor", "literature", "money",
    "movies", "psychology", "science", "sports",
)  # fmt: skip
REPLIES_ONLY = frozenset({"emotion"})
CHATTERBOT_TIMES = 5  # how often an epoch repeats it: it is small, and has the greetings
# Conversations with such words are left out: the tool is used in classrooms.
RUDE = re.compile(
    r"\b(fuck|shit|bitch|cunt|nigg|fag|porn|whore|slut|puss(y|ies)|rap(e|es|ed|ist|ists)\b|retard|sex|asshole|ass\b|dicks?\b)",
    re.IGNORECASE,
)
# What a person may ask; the answers are short stories of the language model's training part.
STORY_REQUESTS = (
    "Tell me a story.", "tell me a story", "Can you tell me a story?", "Please tell me a story!", "I want a story.",
    "Do you know a story?", "tell me a short story please", "Could you tell me a story?",
)  # fmt: skip
STORIES = 400
LONGEST_STORY = 600  # characters


@dataclass(frozen=True)
class Conversations:
    """Conversations by part, each a tuple of turns; `told` are requests for a story with a story, to train on."""

    train: tuple[tuple[str, ...], ...]
    val: tuple[tuple[str, ...], ...]
    test: tuple[tuple[str, ...], ...]
    often: tuple[tuple[str, ...], ...]
    told: tuple[tuple[str, ...], ...]
    sha256: str
    split_sha256: str


def tidy(turn: str) -> str:
    """A turn as the chatbot shall write it: beginning with a capital, ending with a mark, with a capital I."""
    turn = re.sub(r"\bi\b(?=[ ,.!?']|$)", "I", turn)
    turn = turn[:1].upper() + turn[1:]
    return turn if turn[-1:] in ".!?\"')" else f"{turn}."


def _cleaned(turns: Sequence[Any]) -> tuple[str, ...]:
    """Turns without superfluous white space; quotation marks as on a keyboard."""
    table = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "…": "..."})
    texts = (" ".join(str(turn).translate(table).split()) for turn in turns)
    return tuple(text for text in texts if text)


def usable(conversation: Sequence[str]) -> bool:
    """Whether a conversation has a reply and none of the rude words."""
    return len(conversation) > 1 and not RUDE.search("\n".join(conversation))


def divide(
    long: Iterable[tuple[str, ...]], short: Iterable[tuple[str, ...]], told: Sequence[tuple[str, ...]]
) -> Conversations:
    """Drop what is not usable or there already; hold out 5 % for testing and 2 % for validation.

    Args: long: the self-dialogues; short: the small corpus that is repeated; told: stories, for training only.
    """
    parts: dict[str, list[tuple[str, ...]]] = {"train": [], "often": [], "val": [], "test": []}
    seen: set[str] = set()
    for source, name in ((long, "train"), (short, "often")):
        for turns in source:
            plain = "\n".join(map(letters, turns))
            if not usable(turns) or plain in seen:
                continue
            seen.add(plain)
            first = letters(turns[0])
            part = (
                "test" if held_out(first, TEST_SHARE) else "val" if held_out(first, VAL_SHARE, "validation") else name
            )
            parts[part].append(turns)
    train, often, val, test = (tuple(parts[name]) for name in ("train", "often", "val", "test"))

    def of(*groups: Iterable[tuple[str, ...]]) -> str:
        return digest("\n".join(turns) for group in groups for turns in group)

    return Conversations(train, val, test, often, tuple(told), of(train, often, val, test, told), of(val, test))


def read_conversations(data_dir: str | Path) -> Conversations:
    """All conversations. Raises UserError, in one line, for missing data or a part without a conversation."""
    path = text_file(data_dir, "self_dialogue", SELF_DIALOGUE)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        long = [_cleaned(parse_json(line)["turns"]) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold conversations, one JSON object with turns a line: {error}") from error
    short = [turns for name in CHATTERBOT for turns in read_chatterbot(data_dir, name)]
    stories = [story for story in read_stories(data_dir).train if len(story) <= LONGEST_STORY][:STORIES]
    told = [(STORY_REQUESTS[number % len(STORY_REQUESTS)], story) for number, story in enumerate(stories)]
    conversations = divide(long, short, told)
    for name in ("train", "val", "test"):
        if not getattr(conversations, name):
            raise UserError(f"the conversations under {data_dir} are too few: none is left for {name}")
    return conversations


def read_chatterbot(data_dir: str | Path, name: str) -> list[tuple[str, ...]]:
    """The conversations of one file of the ChatterBot corpus. Raises UserError if it does not hold any."""
    path = text_folder(data_dir, "chatterbot-corpus") / "english" / f"{name}.yml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path} does not hold conversations: {str(error).splitlines()[0]}") from error
    conversations = [_cleaned(turns) for turns in found if isinstance(turns, list)]
    if name in REPLIES_ONLY:
        return [(turns[0], reply) for turns in conversations for reply in turns[1:]]
    return conversations


def read_simple_dialogs(data_dir: str | Path) -> list[tuple[str, ...]]:
    """The pairs of utterance and reply of the Simple dialogs: for measuring only, as their licence is unknown."""
    lines = text_file(data_dir, "simple-dialogs", "dialogs.txt").read_text(encoding="utf-8").splitlines()
    pairs = (_cleaned(line.split(":")) for line in lines if line.count(":") == 1)
    return [pair for pair in pairs if len(pair) == 2]
