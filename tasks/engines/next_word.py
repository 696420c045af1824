"""The search for the whole words that a language model expects after a text, whose tokens are pieces of words."""

import copy
import inspect
import re
from dataclasses import dataclass
from typing import Any

import torch

from tasks.texts import UNFINISHED

MOST_PIECES = 8  # tokens of a word that is looked for
CACHE_BYTES = 256 * 2**20  # for the copies of what the model remembers of the prompt
# Chinese and Japanese are written without spaces: there each token is taken for a word.
UNSPACED = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
LETTER = rf"(?!{UNSPACED})\w"
WORD = re.compile(rf"{UNSPACED}+|(?:{LETTER})+(?:['’](?:{LETTER})+)*")
# What may still become part of the word: the first bytes of a character, or an apostrophe before more letters.
OPEN_END = re.compile(rf"['’]?{UNFINISHED}*")
GOES_ON = re.compile(rf"{LETTER}|{UNFINISHED}|['’](?:\w|$)")
STARTS_WORD = re.compile(rf"\w|{UNFINISHED}")
NEEDS_NO_SPACE = re.compile(rf"{UNSPACED}|{UNFINISHED}")


def continuations(model: Any, tokenizer: Any) -> tuple[list[str], int]:
    """What each token of the vocabulary says behind another one, and how many characters that other one has.

    Decoders drop the first space of a text; behind another token it stays.
    """
    anchor = tokenizer.encode("a", add_special_tokens=False)
    size = min(model.get_output_embeddings().weight.shape[0], len(tokenizer))
    behind = [[*anchor, token] for token in range(size)]
    return tokenizer.backend_tokenizer.decode_batch(behind, skip_special_tokens=True), len(tokenizer.decode(anchor))


@dataclass(frozen=True)
class Path:
    """The beginning of a word: its tokens, their text after the prompt, and their probability."""

    tokens: tuple[int, ...]
    text: str
    probability: float


class WordSearch:
    """A beam over the tokens that continue a text, each path until what follows cannot belong to its word.

    A word may be several sequences of tokens. Its probability is the sum over them of the product of their tokens'
    probabilities and that of an end of the word after them. What is no word (punctuation, the end of the text) has the
    rest. Paths less probable than the words already found are not followed: the sums may lack what they would add.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """Learn of every token what it is as the continuation of a text: kinds as bool `(vocabulary,)`."""
        self.model, self.tokenizer = model, tokenizer
        self.options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            self.options["logits_to_keep"] = 1
        self.anchor = tokenizer.encode("a", add_special_tokens=False)
        texts, self.known = continuations(model, tokenizer)
        size = model.get_output_embeddings().weight.shape[0]

        def kind(pattern: re.Pattern[str]) -> torch.Tensor:
            matches = [pattern.match(text, self.known) is not None for text in texts]
            return torch.tensor(matches + [False] * (size - len(texts)), device=model.device)

        self.space = kind(re.compile(r"\s"))
        self.starts_word, self.goes_on = kind(STARTS_WORD), kind(GOES_ON)
        self.needs_no_space = kind(NEEDS_NO_SPACE)

    @torch.inference_mode()
    def words(self, tokens: list[int], text: str, count: int) -> dict[str, float]:
        """At least the `count` most probable words after a text, with their probabilities.

        Args: tokens: those of the text without the spaces at its end, which a word's own token brings along.
        """
        prompt = self.model(torch.tensor([tokens], device=self.model.device), **self.options)
        following = prompt.logits[:, -1].float().softmax(dim=-1)
        if text[-1] in " \t":  # given that a space follows, as it was typed already
            following = following * self.space
            following /= following.sum().clamp_min(1e-30)
        # Behind a letter a word needs a space; behind a quotation mark, say, it does not.
        glued = text[-1] not in " \t" and re.fullmatch(LETTER, text[-1]) is None
        following = following * (self.space | self.needs_no_space | (self.starts_word & glued))
        search = _Beam(self, glued, max(16, 2 * count))
        paths = search.extend([Path((), "", 1.0)], following)
        for _ in range(MOST_PIECES - 1):
            best = sorted(search.words.values(), reverse=True)
            paths = [path for path in paths if len(best) < count or path.probability > best[count - 1]]
            if not paths:
                break
            following = self._after(prompt.past_key_values, paths)
            search.end(paths, 1 - (following * self.goes_on).sum(dim=-1))
            begun = torch.tensor([bool(path.text.strip()) for path in paths], device=following.device)[:, None]
            paths = search.extend(paths, following * torch.where(begun, self.goes_on, self.space | self.starts_word))
        return search.words

    def text_of(self, tokens: tuple[int, ...]) -> str:
        """What tokens say as the continuation of a text."""
        return self.tokenizer.decode([*self.anchor, *tokens], clean_up_tokenization_spaces=False)[self.known :]

    def _after(self, cache: Any, paths: list[Path]) -> torch.Tensor:
        """Probabilities of the token after each path (all of one length) behind the prompt, `(paths, vocabulary)`."""
        size = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
        rows = max(1, CACHE_BYTES // max(1, size))
        found = []
        for start in range(0, len(paths), rows):
            batch = torch.tensor([path.tokens for path in paths[start : start + rows]], device=self.model.device)
            copies = copy.deepcopy(cache)
            copies.batch_repeat_interleave(len(batch))
            logits = self.model(batch, past_key_values=copies, **self.options).logits
            found.append(logits[:, -1].float().softmax(dim=-1))
        return torch.cat(found)


class _Beam:
    """The words found so far, and how paths grow."""

    def __init__(self, search: WordSearch, glued: bool, width: int) -> None:
        """Args: glued: whether a word may follow the text without a space."""
        self.search, self.glued, self.width = search, glued, width
        self.words: dict[str, float] = {}

    def extend(self, paths: list[Path], following: torch.Tensor) -> list[Path]:
        """The most probable paths that are one token longer; those that hold more than a word are done.

        Args: following: probabilities of the tokens that are possible after each path, `(paths, vocabulary)`.
        """
        weights = torch.tensor([path.probability for path in paths], device=following.device)
        joint = (following * weights[:, None]).flatten()
        best, places = joint.topk(min(self.width, len(joint)))
        longer = []
        for probability, place in zip(best.tolist(), places.tolist(), strict=True):
            if probability <= 0:
                break
            tokens = (*paths[place // following.shape[-1]].tokens, place % following.shape[-1])
            text = self.search.text_of(tokens)
            word, rest = self._split(text)
            if rest:
                self._add(word, probability)
            elif word is not None:
                longer.append(Path(tokens, text, probability))
        return longer

    def end(self, paths: list[Path], shares: torch.Tensor) -> None:
        """Count the words that end here. Args: shares: the probability of an end after each path `(paths,)`."""
        for path, share in zip(paths, shares.tolist(), strict=True):
            if not path.text.endswith(UNFINISHED):
                self._add(self._split(path.text)[0], path.probability * max(share, 0.0))

    def _add(self, word: str | None, probability: float) -> None:
        if word:
            self.words[word] = self.words.get(word, 0.0) + probability

    def _split(self, text: str) -> tuple[str | None, str]:
        """The word of a continuation (empty if it has not begun, None if there is none) and what is behind it."""
        begun = text.lstrip()
        if OPEN_END.fullmatch(begun):
            return ("" if begun[:1] not in ("'", "’") or not begun else None), ""
        word = WORD.match(begun)
        apart = self.glued or text[:1].isspace() or re.match(UNSPACED, text)
        if word is None or not apart:
            return None, ""
        rest = begun[word.end() :]
        return word[0], "" if OPEN_END.fullmatch(rest) else rest
