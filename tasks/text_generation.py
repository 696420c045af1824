"""Tasks `story-completion` and `next-word-prediction`: what a language model writes after a text."""

from typing import Any

from tasks.base import Cancel, TaskInputError, each_row, stop_if
from tasks.engines.generation import SPACES, LanguageTask, Sampling, WritingTask
from tasks.engines.language_model import LanguageModel
from tasks.engines.next_word import MOST_PIECES, WordSearch
from tasks.engines.streaming import Emit
from tasks.parameters import Parameters, option


def end_of(text: str, model: LanguageModel, room: int) -> tuple[list[int], bool]:
    """The tokens of a text, the last ones if it has more than there is room for, and whether some were left out.

    Raises TaskInputError if the text has no tokens: tokenizers drop some characters that cannot be seen.
    """
    tokens = model.encode(text)
    begin = 1 if tokens and tokens[0] == model.bos else 0
    if len(tokens) == begin:
        raise TaskInputError("text has nothing in it that this model knows; valid: text with letters")
    if len(tokens) <= room:
        return tokens, False
    return (tokens[:begin] + tokens[begin - room :]) if room > begin else tokens[-room:], True


class StoryCompletion(WritingTask, LanguageTask):
    """Continues a story.

    Spaces at the end of the text are not read: a word's own token brings them along. A word then follows, not a comma.
    The story ends where the model's window does, also before `max_new_tokens`.

    Output: `completion` (what follows the text, beginning with a space where one belongs), `finish_reason`,
    `truncated` (whether only the end of the text fitted into the model's window), `prompt_tokens`, `tokens`.
    """

    name = "story-completion"
    parameters = Sampling
    example = {"text": "Once upon a time, in a house by the sea,"}
    example_parameters = {"max_new_tokens": 20}

    def limits(self) -> dict[str, int]:
        return {"max_new_tokens": self.longest}

    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        text = row["text"]
        tokens, truncated = end_of(text.rstrip(SPACES), self.engine, self.room(parameters))
        written = self.write_on(text, tokens, self.fitted(parameters, tokens), emit, cancel)
        facts = {"prompt_tokens": len(tokens), "truncated": truncated}
        return {"completion": written.text, **written.facts(), **facts}


class NextWordParameters(Parameters):
    """Of next word prediction."""

    top_k: int = option(5, "how many words", ge=1, le=50)


class NextWordPrediction(LanguageTask):
    """The whole words that most probably follow a text.

    Output: `next_word`, `candidates` (word, probability; the most probable first; see `WordSearch`), `truncated`
    (whether only the end of the text fitted into the model's window), `tokens` (that were read).
    """

    name = "next-word-prediction"
    parameters = NextWordParameters
    example = {"text": "The cat sat on the"}

    def load(self) -> None:
        super().load()
        self.search = WordSearch(self.engine)

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        def answer(row: dict[str, Any]) -> dict[str, Any]:
            stop_if(cancel)
            with self.lock:
                return self._predict(row["text"], parameters["top_k"])

        return each_row(rows, answer)

    def _predict(self, text: str, top_k: int) -> dict[str, Any]:
        tokens, truncated = end_of(text.rstrip(SPACES), self.engine, self.window - MOST_PIECES)
        words = self.search.words(tokens, text, top_k)
        best = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:top_k]
        return {
            "next_word": best[0][0] if best else "",
            "candidates": [{"word": word, "probability": probability} for word, probability in best],
            "truncated": truncated,
            "tokens": len(tokens),
        }
