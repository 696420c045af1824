"""Task `question-answering`: the place in a text that answers a question."""

from typing import Any

from tasks.base import Cancel, naming_part, stop_if
from tasks.engines.pretrained import PretrainedTask, read_together
from tasks.parameters import Parameters, option

# The length of the windows that such models are trained with.
USUAL_WINDOW = 384


class QuestionParameters(Parameters):
    """Of question answering."""

    top_k: int = option(1, "how many answers", ge=1, le=20)


class QuestionAnswering(PretrainedTask):
    """Cuts the answer to a question out of a context of any length; several in batches.

    Output: `answer`, `score` (its probability among all spans of the context and no answer), `start` and `end`
    (characters of the context: `context[start:end]` is the answer), `answers` (the `top_k` best, which do not overlap,
    each with these four). An empty answer from 0 to 0 says that the context has none.
    """

    name = "question-answering"
    inputs = {"question": True, "context": True}
    texts = ("question", "context")
    auto_class = "AutoModelForQuestionAnswering"
    parameters = QuestionParameters
    example = {
        "question": "When was the lamp lit again?",
        "context": "The old lighthouse had stood dark for thirty years. On Saturday evening its lamp was lit again.",
    }

    def load(self) -> None:
        from tasks.engines.extractive import ExtractiveAnswers

        super().load()
        self.tokenizer.padding_side = "right"  # the question comes first
        self.pipeline = ExtractiveAnswers(self.model, self.tokenizer, min(self.window, USUAL_WINDOW))

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        for group in read_together(rows, lambda row: len(row["question"]) + len(row["context"])):
            stop_if(cancel)
            with self.lock, naming_part(len(results) + 1, len(rows)):
                found = self.pipeline(group, parameters["top_k"], cancel)
            results += [{**one["answers"][0], **one} for one in found]
        return results
