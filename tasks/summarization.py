"""Task `summarization`: a long text in short."""

from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from tasks.base import Cancel, ModelFolderError, TaskInputError
from tasks.engines.generation import WritingTask
from tasks.engines.streaming import Emit
from tasks.hub.source import weights_folder
from tasks.json_files import read_json
from tasks.parameters import Parameters, option
from tasks.texts import count_words

# What a model's config may say about summaries besides lengths and beams, which are parameters here.
OWN_SETTINGS = ("length_penalty", "no_repeat_ngram_size", "early_stopping", "repetition_penalty")
SENTENCE_SCORER = "ForTokenClassification"  # how transformers calls networks with a score for each token


class SummaryParameters(Parameters):
    """Of summarization."""

    max_length: int = option(142, "maximum number of tokens in the summary of each part of the text", ge=1, le=1024)
    min_length: int = option(0, "minimum number of tokens in the summary of each part of the text", ge=0, le=1024)
    num_beams: int = option(4, "beam width: candidate summaries kept at once; 1 is fastest and streams", ge=1, le=8)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        least, most = self.min_length, self.max_length
        if least > most:
            raise ValueError(f"min_length is {least}; valid: at most max_length, which is {most}")
        return self


class Summarization(WritingTask):
    """Summarizes a text.

    One longer than the model's window is divided between sentences, and the summaries of its parts are joined.

    Output: `summary`, `compression` (its words divided by the text's), `chunks` (how many parts the text had),
    `finish_reason`, `prompt_tokens`, `tokens`. With `num_beams` 1 a stream has a piece for each token, else for each
    part: a beam search knows its text only at the end.

    A token classifier with a single class summarizes too, without writing anything: it takes the sentences that it
    scores highest, about a quarter of each part. Its output also has `sentences`: where they stand in the text
    (`start`, `end`, characters) and their `score` among those of their part. A stream has a piece for each of them.
    `num_beams` changes nothing. (Liu 2019, "Fine-tune BERT for Extractive Summarization", scores sentences alike.)
    """

    name = "summarization"
    auto_class = "AutoModelForSeq2SeqLM"
    requirements = (*WritingTask.requirements, "sentencex")
    parameters = SummaryParameters
    example = {
        "text": "The old lighthouse had stood dark for thirty years. Last spring a group of neighbors bought it for "
        "the price of a used car, and spent every weekend scraping paint and replacing glass. On Saturday evening, "
        "with half the town on the beach, its lamp was lit again. The group now wants to open the tower to visitors."
    }
    example_parameters = {"num_beams": 1, "max_length": 20}

    def load(self) -> None:
        self.takes_sentences = _scores_tokens(weights_folder(self.folder))
        if self.takes_sentences:
            self._load_scorer()
        else:
            self._load_writer()

    def _load_scorer(self) -> None:
        """A model that says how much each sentence belongs into a summary."""
        from tasks.engines.devices import pick_device
        from tasks.engines.loading import context_window, load_model, load_tokenizer, pick_dtype
        from tasks.engines.sentences import Extracts

        folder, device = weights_folder(self.folder), pick_device(self.device)
        kind = f"AutoModel{SENTENCE_SCORER}"
        self.model = load_model(folder, kind, device, pick_dtype(device, wide_range=self.wide_range))
        self.tokenizer = load_tokenizer(folder)
        self.window = context_window(self.model, self.tokenizer)
        if self.model.config.num_labels != 1:
            raise ModelFolderError(
                f"{self.folder} distinguishes {self.model.config.num_labels} classes of tokens; valid: a model that "
                "writes summaries, or one with a single class that scores sentences"
            )
        self.pipeline = Extracts(self.model, self.tokenizer, self.window)

    def _load_writer(self) -> None:
        from tasks.engines.loading import prepare_writing
        from tasks.engines.summaries import Summaries

        super().load()
        prepare_writing(self.model)
        config = self.model.config
        suggested = (getattr(config, "task_specific_params", None) or {}).get("summarization", {})
        own = {name: suggested[name] for name in OWN_SETTINGS if name in suggested}
        self.model.generation_config.update(**own)
        prefix = suggested.get("prefix", "summarize: " if config.model_type in ("t5", "mt5", "longt5") else "")
        self.pipeline = Summaries(self.model, self.tokenizer, self.window, prefix)

    def limits(self) -> dict[str, int]:
        return {} if self.takes_sentences else {"max_length": self.window - 2}

    def write(self, row: dict[str, Any], parameters: dict[str, Any], emit: Emit, cancel: Cancel) -> dict[str, Any]:
        most = self.limits().get("max_length", parameters["max_length"])
        if parameters["max_length"] > most:
            given = parameters["max_length"]
            raise TaskInputError(f"max_length is {given}; valid: a whole number from 1 to {most} for this model")
        lengths = {"max_new_tokens": parameters["max_length"], "min_new_tokens": parameters["min_length"]}
        beams = {} if self.takes_sentences else {"num_beams": parameters["num_beams"]}
        result = self.pipeline(row["text"], emit, cancel, **lengths, **beams)
        return {**result, "compression": count_words(result["summary"]) / max(1, count_words(row["text"]))}


def _scores_tokens(folder: Path) -> bool:
    """Whether the model of a folder with weights scores tokens; what cannot be read is left to those who load it."""
    try:
        kinds = read_json(folder / "config.json")["architectures"]
        return str(kinds[0]).endswith(SENTENCE_SCORER)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False
