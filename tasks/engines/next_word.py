"""The search for the whole words that a language model expects after a text, whose tokens are pieces of words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.engines.language_model import Following, LanguageModel, windows
from tasks.texts import LETTER, UNFINISHED, UNSPACED

MOST_PIECES = 8  # tokens of a word that is looked for
# Of what is written without spaces, each token is taken for a word.
WORD = re.compile(rf"{UNSPACED}+|(?:{LETTER})+(?:['’](?:{LETTER})+)*")
# What may still become part of the word: the first bytes of a character, or an apostrophe before more letters.
OPEN_END = re.compile(rf"['’]?{UNFINISHED}*")
SPACE = re.compile(r"\s")
CONTINUES = re.compile(rf"{LETTER}|{UNFINISHED}|['’](?:\w|$)")
STARTS_WORD = re.compile(rf"\w|{UNFINISHED}")
NEEDS_NO_SPACE = re.compile(rf"{UNSPACED}|{UNFINISHED}")


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

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        # What each token is as the continuation of a text, learned when it is first met: bool `(vocabulary,)`.
        self.met, self.space, self.starts_word, self.continues, self.needs_no_space = np.zeros(
            (5, model.vocabulary_size), dtype=bool
        )

    def words(self, tokens: list[int], text: str, count: int) -> dict[str, float]:
        """At least the `count` most probable words after a text, with their probabilities.

        Args: tokens: those of the text without the spaces at its end, which a word's own token brings along.
        """
        following = self.model.read(tokens)
        (first,) = following([()])
        self._meet(first.tokens)
        shares = first.probabilities
        if text[-1] in " \t":  # given that a space follows, as it was typed already
            shares = shares * self.space[first.tokens]
            shares = shares / max(shares.sum(), 1e-30)
        # Behind a letter a word needs a space; behind a quotation mark, say, it does not.
        glued = text[-1] not in " \t" and re.fullmatch(LETTER, text[-1]) is None
        possible = self.space | self.needs_no_space | (self.starts_word & glued)
        beam = _Beam(self.model, glued, max(16, 2 * count))
        paths = beam.extend([(Path((), "", 1.0), first.tokens, shares * possible[first.tokens])])
        for _ in range(MOST_PIECES - 1):
            longer = []
            for part in windows(paths, self.model.paths_at_once):  # the most probable first
                best = sorted(beam.words.values(), reverse=True)
                part = [path for path in part if len(best) < count or path.probability > best[count - 1]]
                if not part:
                    break
                after = following([path.tokens for path in part])
                longer += [self._onward(beam, path, next_) for path, next_ in zip(part, after, strict=True)]
            if not longer:
                break
            paths = beam.extend(longer)
        return beam.words

    def _onward(self, beam: "_Beam", path: Path, following: Following) -> "_Onward":
        """Count the word that ends at a path; returns the path with what may belong to its word."""
        tokens, shares = following.tokens, following.probabilities
        self._meet(tokens)
        beam.end(path, 1 - float((shares * self.continues[tokens]).sum()))
        possible = self.continues if path.text.strip() else self.space | self.starts_word
        return path, tokens, shares * possible[tokens]

    def _meet(self, tokens: np.ndarray) -> None:
        """Learn of tokens what they are."""
        new = tokens[~self.met[tokens]]
        if not len(new):
            return
        texts = self.model.texts_of([(token,) for token in new.tolist()])
        for kind, pattern in (
            (self.space, SPACE),
            (self.starts_word, STARTS_WORD),
            (self.continues, CONTINUES),
            (self.needs_no_space, NEEDS_NO_SPACE),
        ):
            kind[new] = [pattern.match(text) is not None for text in texts]
        self.met[new] = True


_Onward = tuple[Path, np.ndarray, np.ndarray]


class _Beam:
    """The words found so far, and how paths grow."""

    def __init__(self, model: LanguageModel, glued: bool, width: int) -> None:
        """Args: glued: whether a word may follow the text without a space."""
        self.model, self.glued, self.width = model, glued, width
        self.words: dict[str, float] = {}

    def extend(self, onward: "Sequence[_Onward]") -> list[Path]:
        """The most probable paths that are one token longer; those that hold more than a word are done.

        Args: onward: paths, the tokens that are possible after each `(n,)`, and their probabilities `(n,)`.
        """
        joint = np.concatenate([path.probability * shares for path, _, shares in onward])
        owners = np.repeat(np.arange(len(onward)), [len(tokens) for _, tokens, _ in onward])
        tokens = np.concatenate([tokens for _, tokens, _ in onward])
        width = min(self.width, len(joint))
        best = np.argpartition(-joint, width - 1)[:width]
        best = sorted((int(place) for place in best if joint[place] > 0), key=lambda place: -joint[place])
        found = [(*onward[owners[place]][0].tokens, int(tokens[place])) for place in best]
        longer = []
        for path, text, place in zip(found, self.model.texts_of(found), best, strict=True):
            word, rest = self._split(text)
            if rest:
                self._add(word, float(joint[place]))
            elif word is not None:
                longer.append(Path(path, text, float(joint[place])))
        return longer

    def end(self, path: Path, share: float) -> None:
        """Count the word of a path. Args: share: the probability of its end there."""
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
