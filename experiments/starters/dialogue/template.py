"""The form of a conversation for the model: two tokens that say who speaks, and the end token after each turn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import LlamaForCausalLM

from experiments.config import UserError
from experiments.starters.dialogue.conversations import tidy
from experiments.starters.language.tokens import IGNORED, PackedBatches, cut
from tasks.base import ModelFolderError
from tasks.engines.loading import load_model, load_tokenizer

USER, ASSISTANT = "<|user|>", "<|assistant|>"
# Messages of the system are left out: the model has not learned to follow instructions.
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + eos_token }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Talk:
    """A conversation as tokens, int16, without the end token at its beginning, and which of them are to be learned."""

    tokens: np.ndarray
    learned: np.ndarray


def extended(folder: Path) -> tuple[LlamaForCausalLM, Any]:
    """A language model and its tokenizer with the tokens and the template of conversations added.

    The new tokens begin as the one that ends a text: after it, too, something new is said. Raises UserError for a
    folder that holds no such model.
    """
    try:
        tokenizer = load_tokenizer(folder)
        model = load_model(folder, "AutoModelForCausalLM", torch.device("cpu"), torch.float32)
    except ModelFolderError as error:
        raise UserError(f"language_model: {error}") from error
    if not isinstance(model, LlamaForCausalLM) or tokenizer.eos_token_id is None:
        raise UserError(f"language_model is {str(folder)!r}; valid: the folder of a starter for story-completion")
    end = tokenizer.eos_token_id
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in (USER, ASSISTANT)], True)
    tokenizer.chat_template = TEMPLATE
    size = model.config.vocab_size
    with torch.random.fork_rng():
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        weights = model.model.embed_tokens.weight
        weights[size:] = weights[end]
    return model, tokenizer


def encode_talks(tokenizer: Any, conversations: Iterable[Sequence[str]], first: int, *, both: bool) -> list[Talk]:
    """Conversations as tokens: turns are the user's and the assistant's in turn, and the assistant's are tidy.

    Args:
        first: 0 if the first turn is the user's, 1 to leave it out, so that the second one is.
        both: whether the user's turns, too, are to be learned, but for the first: both speakers are people, and every
            turn answers the one before it.
    """
    end = tokenizer.eos_token_id
    speakers = tokenizer.convert_tokens_to_ids([USER, ASSISTANT])
    shown = [
        [tidy(turn) if number % 2 else turn for number, turn in enumerate(turns[first:])] for turns in conversations
    ]
    pieces = iter(
        tokenizer.backend_tokenizer.encode_batch_fast(
            [turn for turns in shown for turn in turns], add_special_tokens=False
        )
    )
    talks = []
    for turns in shown:
        tokens: list[int] = []
        learned: list[bool] = []
        for number in range(len(turns)):
            said = [*next(pieces).ids, end]
            counts = number % 2 == 1 or (both and number > 0)
            tokens += [speakers[number % 2], *said]
            learned += [False, *[counts] * len(said)]
        if any(learned):
            talks.append(Talk(np.array(tokens, dtype=np.int16), np.array(learned)))
    return talks


def pack(talks: Sequence[Talk], end: int, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Conversations one after the other, the end token before each, as inputs and targets int64 `(rows, context)`."""
    border, no = np.array([end], dtype=np.int16), np.array([False])
    tokens = cut(np.concatenate([part for talk in talks for part in (border, talk.tokens)]), context)
    learned = np.concatenate([part for talk in talks for part in (no, talk.learned)]).astype(np.int16)
    targets = tokens[:, 1:].masked_fill(cut(learned, context)[:, 1:] == 0, IGNORED)
    return tokens[:, :-1], targets


class DialogueBatches(PackedBatches):
    """Rows of conversations, which in every other epoch begin with their second turn: each turn is then a reply."""

    def __init__(self, talks: Sequence[tuple[Talk, Talk]], **options: Any) -> None:
        """Args: talks: each conversation from its first and from its second turn on (the first again, if that has no
        reply)."""
        # Not all rows of all epochs are as many: the fewest count.
        self.rows = 0
        super().__init__(talks, **options)
        self.rows = min(len(self.packed(number, range(len(talks)))[0]) for number in (1, 2))

    def packed(self, number: int, order: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        talks = [self.texts[index][(index + number) % 2] for index in order]
        return pack(talks, self.end, self.context)
