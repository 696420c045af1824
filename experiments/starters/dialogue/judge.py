"""Measures the chatbot on held-out replies, beside the language model that it began from, and asks it 50 things."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import UserError
from experiments.starters.dialogue.conversations import read_conversations, read_simple_dialogs
from experiments.starters.dialogue.prompts import PROMPTS
from experiments.starters.dialogue.setup import both_ways
from experiments.starters.dialogue.template import extended
from experiments.starters.language.judge import cold_seconds
from experiments.starters.language.repetition import distinct, words_of
from experiments.starters.language.scoring import log_probabilities
from experiments.starters.starter import Figure, Judgment
from tasks.chat import Chatbot

NAME = "chatbot"
CONVERSATIONS = 400  # of the held-out ones: reading each twice, from either speaker, takes a while


def judge(folder: Path, data_dir: Path) -> Judgment:
    """Figures of a model folder on held-out conversations, and its replies to the fixed prompts.

    The language model that it began from is looked for beside the folder. Raises UserError where it is not.
    """
    before = folder.parent / "language-model"
    if not before.is_dir():
        raise UserError(f"{before} does not exist; valid: the language model that the chatbot began from, beside it")
    seconds = cold_seconds(Chatbot, folder, ask(PROMPTS[0]))
    task = Chatbot(folder, NAME, device="cpu")
    task.load()
    # A seed of its own for each: with the same one all replies would be drawn by the same numbers, and be alike.
    answers = [task.run([ask(prompt)], {"seed": number})[0] for number, prompt in enumerate(PROMPTS)]
    replies = [answer["reply"] for answer in answers]
    ended = sum(answer["finish_reason"] == "stop" for answer in answers) / len(answers)
    figures = [
        *_predictability(task, before, data_dir),
        *_variety(replies, data_dir),
        Figure(f"share of the replies to {len(PROMPTS)} fixed prompts that the model ended by itself", ended),
        Figure("seconds from loading the model to the end of its first reply", seconds, "must be below 3", 2),
    ]
    return Judgment(tuple(figures), _shown(replies))


def ask(prompt: str) -> dict[str, Any]:
    """One question as a row of the task."""
    return {"messages": [{"role": "user", "content": prompt}]}


def _predictability(task: Chatbot, before: Path, data_dir: Path) -> list[Figure]:
    """Perplexity a token of replies and their ends, of this model and of the language model in the same form."""
    language_model, _ = extended(before)
    held_out = read_conversations(data_dir).test
    chosen = [held_out[index * len(held_out) // CONVERSATIONS] for index in range(CONVERSATIONS)]
    conversations = chosen if len(held_out) > CONVERSATIONS else list(held_out)
    measured = {
        f"{len(conversations)} held-out conversations": conversations,
        "the Simple dialogs, of which none was trained on": read_simple_dialogs(data_dir),
    }
    found = []
    for name, talks in measured.items():
        ours, count = perplexity(task.model, task.tokenizer, talks)
        theirs, _ = perplexity(language_model, task.tokenizer, talks)
        what = f"perplexity a token on the replies in {name} ({count:,} tokens)"
        found.append(Figure(what, ours, f"the language model before it learned dialogues: {theirs:.2f}", 2))
    return found


def perplexity(model: Any, tokenizer: Any, conversations: Sequence[tuple[str, ...]]) -> tuple[float, int]:
    """Perplexity a token of a model on every turn but the first of conversations, and the number of tokens.

    Each turn is read as the assistant's, after all before it.
    """
    talks = [talk for ways in both_ways(tokenizer, conversations, learn_both=False) for talk in ways]
    end, window = tokenizer.eos_token_id, model.config.max_position_embeddings
    scores = log_probabilities(model, [talk.tokens[:-1] for talk in talks], end=end, window=window)
    counted = np.concatenate([score[talk.learned] for score, talk in zip(scores, talks, strict=True)])
    return math.exp(-counted.mean()), len(counted)


def _variety(replies: Sequence[str], data_dir: Path) -> list[Figure]:
    """Distinct-n of the replies, beside as many words of people's first replies."""
    people = [turns[1] for turns in read_conversations(data_dir).test]
    human = [people[index * len(people) // len(replies)] for index in range(len(replies))]
    # Less text is more distinct: both have the same number of words.
    size = min(sum(len(words_of(text)) for text in texts) for texts in (replies, human))
    figures = []
    for length in (1, 2):
        ours, theirs = (distinct(_first(texts, size), length) for texts in (replies, human))
        beside = f"replies of people, as many words ({size}): {theirs:.3f}"
        figures.append(Figure(f"distinct-{length} of the replies to {len(replies)} fixed prompts", ours, beside))
    return figures


def _first(texts: Sequence[str], size: int) -> list[str]:
    """The first texts that together have so many words, the last of them cut."""
    found = []
    for text in texts:
        words = words_of(text)[:size]
        size -= len(words)
        found.append(" ".join(words))
    return found


def _shown(replies: Sequence[str]) -> str:
    """A table of all prompts with their replies."""
    rows = [
        f"| {prompt} | {' '.join(reply.split()).replace('|', '¦')} |"
        for prompt, reply in zip(PROMPTS, replies, strict=True)
    ]
    begin = f"The replies to {len(PROMPTS)} fixed prompts, default settings, seeds 0, 1, 2 ..., none left out:"
    return "\n".join([begin, "", "| prompt | reply |", "| --- | --- |", *rows])
