"""Task `summarization`: a long text in short."""

from collections.abc import Mapping
from typing import Any

from tasks.base import Cancel, Parameter, TaskInputError
from tasks.generation import WritingTask
from tasks.streaming import Emit
from tasks.texts import count_words

# What a model's config may say about summaries besides lengths and beams, which are parameters here.
OWN_SETTINGS = ("length_penalty", "no_repeat_ngram_size", "early_stopping", "repetition_penalty")


class Summarization(WritingTask):
    """Summarises a text.

    One longer than the model's window is divided between sentences, and the summaries of its parts are joined.

    Output: `summary`, `compression` (its words divided by the text's), `chunks` (how many parts the text had),
    `finish_reason`, `prompt_tokens`, `tokens`. With `num_beams` 1 a stream has a piece for each token, else for each
    part: a beam search knows its text only at the end.
    """

    name = "summarization"
    auto_class = "AutoModelForSeq2SeqLM"
    parameters = (
        Parameter("max_length", int, 142, "most tokens in the summary of each part of the text", 1, 1024),
        Parameter("min_length", int, 0, "fewest tokens in the summary of each part of the text", 0, 1024),
        Parameter("num_beams", int, 4, "how many summaries are pursued at once; 1 is fastest and streams", 1, 8),
    )

    def load(self) -> None:
        from tasks.summaries import Summaries

        super().load()
        config = self.model.config
        suggested = (getattr(config, "task_specific_params", None) or {}).get("summarization", {})
        own = {name: suggested[name] for name in OWN_SETTINGS if name in suggested}
        self.model.generation_config.update(**own)
        prefix = suggested.get("prefix", "summarize: " if config.model_type in ("t5", "mt5", "longt5") else "")
        self.pipeline = Summaries(
            model=self.model,
            tokenizer=self.tokenizer,
            device=self.model.device,
            task=self.name,
            window=self.window,
            prefix=prefix,
        )

    def check_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        parameters = super().check_parameters(given)
        least, most = parameters["min_length"], parameters["max_length"]
        if least > most:
            raise TaskInputError(f"min_length is {least}; valid: at most max_length, which is {most}")
        return parameters

    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        most = self.window - 2
        if parameters["max_length"] > most:
            given = parameters["max_length"]
            raise TaskInputError(f"max_length is {given}; valid: a whole number from 1 to {most} for this model")
        result: Any = self.pipeline(
            row["text"],
            emit=emit,
            cancel=cancel,
            num_beams=parameters["num_beams"],
            max_new_tokens=parameters["max_length"],
            min_new_tokens=parameters["min_length"],
        )
        return {**result, "compression": count_words(result["summary"]) / max(1, count_words(row["text"]))}
