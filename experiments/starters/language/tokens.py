"""Stories as tokens: the language model's own tokenizer, and batches of token rows without padding."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"  # begins and ends every text
IGNORED = -100  # a target that does not count


def train_tokenizer(texts: Sequence[str], words: int, longest: int) -> Any:
    """A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019) with `words` tokens at most.

    The same texts give the same tokens. A text to be continued gets `<|endoftext|>` in front, as in training.

    Args: longest: tokens that the model reads at once.
    """
    tokenizer = Tokenizer(BPE())
    # Digits one by one: a story's "100" is too rare to be learned as a word.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, model_max_length=longest,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def tokenizer_digest(tokenizer: Any) -> str:
    """The sha256 of all that decides which tokens a text becomes."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def encode(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of each text, int16, without special ones."""
    if len(tokenizer) > np.iinfo(np.int16).max:
        raise ValueError(f"{len(tokenizer)} tokens do not fit into 16 bits")
    found = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(item.ids, dtype=np.int16) for item in found]


def joined(texts: Sequence[np.ndarray], end: int) -> np.ndarray:
    """Texts one after the other, the end token before the first and after each."""
    border = np.array([end], dtype=np.int16)
    return np.concatenate([border, *(part for text in texts for part in (text, border))])


@dataclass(frozen=True)
class Rows:
    """Tokens to read and those that follow them, int64 `(rows, context)`, IGNORED where nothing is to be learned.

    `tokens` and `examples` are the targets that count and the rows of the batch over all processes.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    tokens: int
    examples: int


def cut(stream: np.ndarray, context: int) -> torch.Tensor:
    """A stream of tokens as int64 rows `(rows, context + 1)`, each beginning with the last token of the one before.

    What does not fill a row is left out, unless it would be all.
    """
    context = min(context, len(stream) - 1)
    count = (len(stream) - 1) // context
    starts = np.arange(count)[:, None] * context
    return torch.from_numpy(stream[starts + np.arange(context + 1)].astype(np.int64))


class PackedBatches:
    """Rows of stories one after the other, in an order of their own in every epoch: a function of (seed, epoch)."""

    def __init__(
        self,
        texts: Sequence[Any],
        *,
        end: int,
        context: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args: batch_size: rows per step over all processes."""
        self.texts = texts
        self.end = end
        self.context = context
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.rows = len(self.packed(1, range(len(texts)))[0])

    def __len__(self) -> int:
        """Number of batches in an epoch; the last may be smaller, but not smaller than the number of processes."""
        count, rest = divmod(self.rows, self.batch_size)
        return count + (rest >= self.world_size)

    def packed(self, number: int, order: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002
        """Inputs and targets, int64 `(rows, context)`, of the texts in an order, in epoch `number`."""
        rows = cut(joined([self.texts[index] for index in order], self.end), self.context)
        return rows[:, :-1], rows[:, 1:]

    def epoch(self, number: int) -> Iterator[Rows]:
        """Yield the batches of epoch `number`, counted from 1."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        inputs, targets = self.packed(number, torch.randperm(len(self.texts), generator=generator).tolist())
        # Neighboring rows may belong to one long text.
        order = torch.randperm(self.rows, generator=generator)
        for batch in order.split(self.batch_size)[: len(self)]:
            count = len(batch)
            mine = batch[count * self.rank // self.world_size : count * (self.rank + 1) // self.world_size]
            tokens = int((targets[batch] != IGNORED).sum())
            yield Rows(inputs[mine].to(self.device), targets[mine].to(self.device), tokens, count)
