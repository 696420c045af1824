"""Measures the language model on held-out stories."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.starters.language.repetition import LOOP_LENGTH, LOOP_TIMES, LOOP_WINDOW, distinct, loops, words_of
from experiments.starters.language.scoring import log_probabilities
from experiments.starters.language.stories import OPENING_END, Stories, opening, read_stories
from experiments.starters.language.tokens import encode
from experiments.starters.starter import Figure, Judgment
from tasks.base import Task
from tasks.text_generation import NextWordPrediction, StoryCompletion

NAME = "language-model"
SAMPLES = 100
STORY_TOKENS = 400  # the default of 100 ends in the middle of a story, where no loop has had time
SHOWN = 3
GUESSES = 300  # words to be guessed
FIRST_PROMPT = "Once upon a time, there was a little girl named Lily. She loved to"

Sample = tuple[str, str, str]  # first sentence, what the model wrote after it, what stands there in the true story


def judge(folder: Path, data_dir: Path) -> Judgment:
    """Figures of a model folder on the stories held out by `read_stories`, and its first samples."""
    seconds = cold_seconds(StoryCompletion, folder, {"text": FIRST_PROMPT})
    stories = read_stories(data_dir)
    task = StoryCompletion(folder, NAME, device="cpu")
    task.load()
    samples = sample(task, stories)
    ban, task.model.generation_config.no_repeat_ngram_size = task.model.generation_config.no_repeat_ngram_size, 0
    free = sample(task, stories)
    figures = [
        *_predictability(task, stories),
        *_samples(samples, free, ban),
        _next_words(folder, stories),
        Figure("seconds from loading the model to the end of its first 100 tokens", seconds, "must be below 3", 2),
    ]
    return Judgment(tuple(figures), _shown(samples))


def cold_seconds(kind: type[Task], folder: Path, row: Mapping[str, Any]) -> float:
    """The time that a task takes to load a folder and to give its first answer, with its default settings."""
    started = time.perf_counter()
    task = kind(folder, NAME, device="cpu")
    task.load()
    task.run([row])
    return time.perf_counter() - started


def _predictability(task: StoryCompletion, stories: Stories) -> list[Figure]:
    """Perplexity a token and bits a byte; the end of each story counts as a token."""
    tokenizer = task.tokenizer
    end, texts = tokenizer.eos_token_id, encode(tokenizer, stories.test)
    scores = np.concatenate(log_probabilities(task.model, texts, end=end, window=task.window))
    size = sum(len(text.encode()) for text in stories.test)
    what = f"{len(stories.test):,} held-out stories ({len(scores):,} tokens)"
    return [
        Figure(f"perplexity a token on {what}", math.exp(-scores.mean()), digits=2),
        Figure("bits a byte on the same stories", _bits(scores, size)),
    ]


def _bits(log_probability: np.ndarray, size: int) -> float:
    return float(-log_probability.sum() / math.log(2) / size)


def sample(task: StoryCompletion, stories: Stories, count: int = SAMPLES) -> list[Sample]:
    """Stories written on from held-out first sentences, spread evenly over the different ones, the n-th with seed n.

    All settings are the task's defaults, except for the length.
    """
    different = list({opening(story): story for story in reversed(stories.test)}.values())[::-1]
    chosen = [different[index * len(different) // count] for index in range(min(count, len(different)))]
    samples = []
    for seed, story in enumerate(chosen):
        border = OPENING_END.search(story)
        assert border is not None  # a story is longer than its first sentence
        first = story[: border.end()].rstrip()
        (answer,) = task.run([{"text": first}], {"seed": seed, "max_new_tokens": STORY_TOKENS})
        samples.append((first, answer["completion"], story[len(first) :]))
    return samples


def _samples(samples: Sequence[Sample], free: Sequence[Sample], ban: int | None) -> list[Figure]:
    """Args: free: the same ones without the ban on repeating `ban` tokens that the folder states."""
    count = len(samples)
    written = [completion for _, completion, _ in samples]
    # As many words of the true stories: more text is less distinct.
    true = [_words(story, len(words_of(completion))) for _, completion, story in samples]
    looped, circling, human = (
        sum(loops(first + rest) for first, rest in pairs) / count
        for pairs in ([s[:2] for s in samples], [s[:2] for s in free], [(first, rest) for first, _, rest in samples])
    )
    name = f"share of {count} stories sampled from held-out first sentences with a loop"
    rule = f"the same {LOOP_LENGTH} words {LOOP_TIMES} times within {LOOP_WINDOW}"
    without = f"; without no_repeat_ngram_size={ban}: {circling:.3f}" if ban else ""
    beside = f"must be at most 0.05; the true stories: {human:.3f}{without}"
    figures = [Figure(f"{name} ({rule})", looped, beside)]
    for length in (1, 2):
        beside = f"as many words of the true stories: {distinct(true, length):.3f}"
        figures.append(Figure(f"distinct-{length} of these samples", distinct(written, length), beside))
    return figures


def _words(text: str, count: int) -> str:
    return " ".join(words_of(text)[:count])


def _next_words(folder: Path, stories: Stories) -> Figure:
    """How often the most probable word is the one that follows, in the middle of held-out stories."""
    task = NextWordPrediction(folder, NAME, device="cpu")
    task.load()
    rows, wanted = [], []
    for index in range(min(GUESSES, len(stories.test))):
        story = (
            stories.test[index * len(stories.test) // GUESSES] if len(stories.test) > GUESSES else stories.test[index]
        )
        before, word = _middle(story)
        rows.append({"text": before})
        wanted.append(word)
    said = [answer["next_word"].lower() for answer in task.run(rows, {"top_k": 1})]
    right = sum(a == b for a, b in zip(said, wanted, strict=True)) / len(wanted)
    common = max(set(wanted), key=lambda word: (wanted.count(word), word))
    beside = f"always {common!r}: {wanted.count(common) / len(wanted):.3f}"
    return Figure(f"share of {len(wanted)} next words guessed, in the middle of held-out stories", right, beside)


def _middle(story: str) -> tuple[str, str]:
    """A story's text before the first word behind its middle, and that word in small letters."""
    middle = len(story) // 2
    start = story.index(" ", middle) if " " in story[middle:] else story.index(" ")
    return story[:start], words_of(story[start:])[0]


def _shown(samples: Sequence[Sample]) -> str:
    parts = [
        f"The first {SHOWN} of the samples, as they came (the first sentence, in bold, is of a held-out story; at most "
        f"{STORY_TOKENS} tokens follow):"
    ]
    for first, completion, _ in samples[:SHOWN]:
        text = f"**{first}**{completion}".strip()
        parts.append("\n>\n".join(f"> {line}" for line in text.splitlines() if line.strip()))
    return "\n\n".join(parts)
