"""What a registered model can do: one class per task, one way to load, run and serve them all."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tasks.base import Task


class TaskRecord(NamedTuple):
    """What must be known of a task before its class is loaded.

    Attributes:
        implementation: its module and class, named, not imported: a program that serves one task loads the libraries of
            that task only.
        pipeline_tag: how the Hub calls it; empty where its models are trained here.
        mapping: where transformers lists the classes for it; empty where no class of transformers does it.
    """

    implementation: str
    pipeline_tag: str = ""
    mapping: str = ""

    @property
    def of_language_models(self) -> bool:
        """Whether a language model does it, which runs as GGUF or as safetensors."""
        return self.mapping == CAUSAL


CAUSAL = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
TASKS = {
    "sentiment-analysis": TaskRecord(
        "tasks.sentiment:SentimentAnalysis", "text-classification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
    ),
    "summarization": TaskRecord(
        "tasks.summarization:Summarization", "summarization", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES"
    ),
    "next-word-prediction": TaskRecord("tasks.text_generation:NextWordPrediction", "text-generation", CAUSAL),
    "story-completion": TaskRecord("tasks.text_generation:StoryCompletion", "text-generation", CAUSAL),
    "question-answering": TaskRecord(
        "tasks.question_answering:QuestionAnswering",
        "question-answering",
        "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    ),
    "chatbot": TaskRecord("tasks.chat:Chatbot", "text-generation", CAUSAL),
    "image-generation": TaskRecord("tasks.image_generation:ImageGeneration", "text-to-image"),  # diffusers does it
    "image-classification": TaskRecord("tasks.image_classification:ImageClassification"),
    "sequence-reversal": TaskRecord("tasks.sequence_reversal:SequenceReversal"),
}
PRETRAINED_TASKS = tuple(name for name, record in TASKS.items() if record.pipeline_tag)


def task_class(name: str) -> "type[Task]":
    """The class of a task by its contract name. Raises ValueError, naming the valid ones, for any other."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; valid: {', '.join(TASKS)}")
    module, class_name = TASKS[name].implementation.split(":")
    return getattr(importlib.import_module(module), class_name)


TASK_FILE = "task.json"


def describe_folder(folder: Path, task: str, model_name: str) -> None:
    """Write into a model's folder which task it is for, and the name that its results carry."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TASK_FILE).write_text(json.dumps({"task": task, "model": model_name}, indent=1) + "\n")


def open_task(folder: Path, device: str = "auto") -> "Task":
    """The task of a model's folder, not loaded yet. Raises ModelFolderError if the folder does not say what it is."""
    from tasks.base import ModelFolderError, first_line
    from tasks.json_files import read_json

    try:
        description = read_json(folder / TASK_FILE)
        return task_class(description["task"])(folder, description["model"], device)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{folder / TASK_FILE} does not say which task the model is for: {first_line(error)}"
        ) from error
