"""The words that the small picture model knows, prompts made of them, and its tokenizer.

A class is a number from 0 to 19: the ten digits, then the ten kinds of Fashion-MNIST in their order.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from tasks.texts import WORD

WINDOW = 32  # tokens that the model reads, with the marks at both ends
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"

_WORDS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
DIGITS, THINGS, GROUPS = _WORDS["digits"], _WORDS["things"], _WORDS["groups"]
NUMBERED, FRAMES = (_WORDS[name].split("; ") for name in ("numbered", "frames"))
FILLERS = _WORDS["fillers"].split()
CLASSES = (*"0123456789", *(names[0] for names in THINGS))

# How often a training prompt is empty, names a group, and has 0, 1, 2 or 3 words in it that mean nothing.
EMPTY, GROUPED = 0.1, 0.05
NOISE = (0.5, 0.25, 0.15, 0.1)
MADE_UP = 0.3  # fraction of such words that are random letters
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")


def named(label: int, name: int = 0) -> str:
    """A class with its article, by one of its names: "the digit 7", "an ankle boot"."""
    if label < 10:
        return ("the digit {}" if name == 0 else "the number {}").format(DIGITS[label] if name else label)
    names = THINGS[label - 10]
    return _with_article(names[name % len(names)])


def understood_words() -> list[str]:
    """The words that mean something to the model, and those that users write around them; no fillers."""
    things = [name for names in THINGS for name in names]
    texts = (*DIGITS, *map(str, range(10)), *FRAMES, *NUMBERED, *GROUPS, *things)
    return sorted({word.lower() for text in texts for word in WORD.findall(text)})


def plain_prompts(label: int, count: int) -> list[str]:
    """`count` prompts for a class, in turn of five forms: two names, three frames."""
    forms = [
        named(label),
        f"a picture of {named(label)}",
        f"a photo of {named(label)}",
        named(label, 1),
        f"draw {named(label, 1)}",
    ]
    return [forms[index % len(forms)] for index in range(count)]


def training_prompt(label: int, generator: np.random.Generator) -> str:
    """What a user might have written to get a picture of the class."""
    chance = generator.random()
    if chance < EMPTY:
        return ""
    if chance < EMPTY + GROUPED:
        thing = _pick([text for text, classes in GROUPS.items() if label in classes] or [named(label)], generator)
    elif label < 10:
        thing = _pick(NUMBERED, generator).format(_pick((str(label), DIGITS[label]), generator))
    else:
        # The first name half of the time: the others are rarer in what users write.
        names = THINGS[label - 10]
        name = names[0] if generator.random() < 0.5 else _pick(names, generator)
        thing = generator.choice([name, _with_article(name), f"the {name}"], p=[0.3, 0.5, 0.2])
    return _with_noise(_pick(FRAMES, generator), str(thing), generator)


def _with_noise(frame: str, thing: str, generator: np.random.Generator) -> str:
    """The thing in its frame, with words that mean nothing before what it is, or around it."""
    before, after = frame.split("{}")
    words = thing.split()
    # An adjective stands right before the noun, which is the last word, or the whole name if it is of several.
    head = 1 if words[0] in ("a", "an", "the") else 0
    for _ in range(generator.choice(len(NOISE), p=NOISE)):
        word = _noise_word(generator)
        place = generator.random()
        if place < 0.5:
            words.insert(head, word)
        elif place < 0.7:
            before = f"{before.rstrip()} {word} "
        else:
            after = f" {word}{after}" if generator.random() < 0.5 else f"{after} {word}"
    return " ".join(f"{before}{' '.join(words)}{after}".split())


def _noise_word(generator: np.random.Generator) -> str:
    if generator.random() < MADE_UP:
        return "".join(generator.choice(LETTERS, size=generator.integers(2, 7)))
    return _pick(FILLERS, generator)


def _pick(choices: Sequence[str], generator: np.random.Generator) -> str:
    return choices[int(generator.integers(len(choices)))]


def _with_article(name: str) -> str:
    if name in ("trousers", "pants", "jeans", "sandals", "sneakers", "boots", "ankle boots"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def make_tokenizer() -> CLIPTokenizer:
    """CLIP's kind of tokenizer whose vocabulary is the words above, each one token, and single letters for the rest."""
    things = [name for names in THINGS for name in names]
    words = {word for text in (*FILLERS, *DIGITS, *FRAMES, *NUMBERED, *GROUPS, *things) for word in _words(text)}
    merges = learn_merges(words)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = dict.fromkeys([*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START, END])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    parts: dict[str, Any] = {"vocab": vocabulary, "merges": merges}
    return CLIPTokenizer(**parts, model_max_length=WINDOW)


def read_prompts(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens `(m, WINDOW)` of the different prompts, padded as pipelines pad, and the row of each prompt `(n,)`."""
    rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
    tokens = tokenizer(list(rows), padding="max_length", truncation=True, max_length=WINDOW).input_ids
    return torch.tensor(tokens), torch.tensor([rows[prompt] for prompt in prompts])


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding (Sennrich et al. 2016, algorithm 1) until each word is one piece.

    The commonest pair is merged first, of equal ones the first by the alphabet. (The trainer of `tokenizers` breaks
    ties another way each time.)
    """
    split = [[*word[:-1], word[-1] + END_OF_WORD] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for pieces in split for pair in itertools.pairwise(pieces))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = [_merged(pieces, best) for pieces in split]


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _words(text: str) -> list[str]:
    """The words as CLIP's tokenizer cuts a text: letters together, anything else apart."""
    return "".join(letter if letter.isalpha() else " " for letter in text).split()
