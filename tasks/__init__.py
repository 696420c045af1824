"""What a registered model can do: one class per task, one way to load, run and serve them all."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.base import Task

# Named, not imported: a program that serves one task loads the libraries of that task only.
TASKS = {
    "image-classification": "tasks.image_classification:ImageClassification",
}


def task_class(name: str) -> "type[Task]":
    """The class of a task by its contract name. Raises ValueError, naming the valid ones, for any other."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; valid: {', '.join(TASKS)}")
    module, class_name = TASKS[name].split(":")
    return getattr(importlib.import_module(module), class_name)
