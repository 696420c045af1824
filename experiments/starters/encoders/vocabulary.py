"""A WordPiece vocabulary cut down to the pieces that matter, or learned anew.

WordPiece spells a word with the longest pieces that it has. A word all of whose pieces are kept is therefore spelled as
before; another falls into shorter pieces. All single characters are kept, so that no word becomes unknown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer

CONTINUES = "##"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS_AT_ONCE = 1000


def count_pieces(tokenizer: Any, texts: Sequence[str]) -> Counter[int]:
    """How often each token stands in the texts, without the tokens that a model puts around them."""
    counts: Counter[int] = Counter()
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        batch = list(texts[first : first + TEXTS_AT_ONCE])
        for tokens in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            counts.update(tokens)
    return counts


def pieces_to_keep(vocabulary: Mapping[str, int], counts: Mapping[int, int], size: int, least: int = 2) -> list[int]:
    """The tokens, in their old order, of a vocabulary of about `size` pieces (more if there are more characters).

    Kept are the special tokens, all single characters, alone and within words, then what stands in the texts `least`
    times, the most frequent first; what room is left goes to the pieces with the lowest numbers, because BERT's
    vocabulary begins with what is frequent in English.
    """
    always = {token for piece, token in vocabulary.items() if piece in SPECIAL or len(_bare(piece)) == 1}
    words = {token for piece, token in vocabulary.items() if not _unused(piece)} - always
    seen = sorted(
        (token for token in words if counts.get(token, 0) >= least), key=lambda token: (-counts[token], token)
    )
    common = sorted(words - set(seen))
    room = max(0, size - len(always))
    return sorted(always | set([*seen, *common][:room]))


def _bare(piece: str) -> str:
    return piece.removeprefix(CONTINUES) if len(piece) > len(CONTINUES) else piece


def _unused(piece: str) -> bool:
    """Whether a piece is one of BERT's free places, `[unused7]`, or a special token."""
    return piece.startswith("[") and piece.endswith("]") and len(piece) > 2


def cut_tokenizer(tokenizer: Any, kept: Sequence[int]) -> BertTokenizer:
    """The tokenizer with only the tokens `kept`, numbered anew in that order."""
    names = tokenizer.convert_ids_to_tokens(list(kept))
    return make_tokenizer({name: number for number, name in enumerate(names)}, tokenizer.do_lower_case)


def learn_tokenizer(texts: Sequence[str], size: int) -> BertTokenizer:
    """A lower-casing WordPiece tokenizer of about `size` pieces, learned from texts; the same one each time.

    (The trainer for WordPiece in the library numbers equally frequent pieces by chance.) Byte-pair encoding finds
    pieces; as beginnings and as continuations of words they are counted, and the frequent ones kept.
    """
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    found = sorted(learner.get_vocab(), key=lambda piece: (len(piece), piece))
    names = [*SPECIAL, *found, *(CONTINUES + piece for piece in found)]
    tokenizer = make_tokenizer({name: number for number, name in enumerate(names)}, lower=True)
    return cut_tokenizer(tokenizer, pieces_to_keep(tokenizer.get_vocab(), count_pieces(tokenizer, texts), size))


def make_tokenizer(vocabulary: Mapping[str, int], lower: bool) -> BertTokenizer:
    """BERT's tokenizer with a vocabulary."""
    in_order = dict(sorted(vocabulary.items(), key=lambda entry: entry[1]))
    return BertTokenizer(vocab=in_order, do_lower_case=lower, model_max_length=512)
