"""What a registered model can do: one class per task, one way to load, run and serve them all."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.base import Task

# Named, not imported: a program that serves one task loads the libraries of that task only.
TASKS = {
    "sentiment-analysis": "tasks.sentiment:SentimentAnalysis",
    "summarization": "tasks.summarization:Summarization",
    "next-word-prediction": "tasks.text_generation:NextWordPrediction",
    "story-completion": "tasks.text_generation:StoryCompletion",
    "question-answering": "tasks.question_answering:QuestionAnswering",
    "chatbot": "tasks.chat:Chatbot",
    "image-generation": "tasks.image_generation:ImageGeneration",
    "image-classification": "tasks.image_classification:ImageClassification",
    "sequence-reversal": "tasks.sequence_reversal:SequenceReversal",
}


def task_class(name: str) -> "type[Task]":
    """The class of a task by its contract name. Raises ValueError, naming the valid ones, for any other."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; valid: {', '.join(TASKS)}")
    module, class_name = TASKS[name].split(":")
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
