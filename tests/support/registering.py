"""What tests of `register` share: a tiny model for each task, and readers of what was registered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tasks import registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = {
    "sentiment-analysis": "roberta-sentiment",
    "summarization": "bart",
    "next-word-prediction": "gpt2",
    "story-completion": "gpt2",
    "question-answering": "distilbert-qa",
    "chatbot": "qwen2",
    "image-generation": "sd",
}
OUTPUTS = {
    "sentiment-analysis": "label",
    "summarization": "summary",
    "next-word-prediction": "next_word",
    "story-completion": "completion",
    "question-answering": "answer",
    "chatbot": "reply",
    "image-generation": "image",
}
CONVERSATION = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}]}
Folders = Callable[[str], Path]


def champion(task: str) -> Any:
    version = registry.champion(task)
    assert version is not None
    return version


def model_files(task: str) -> set[str]:
    """The files of the champion's folder in the registry."""
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{task}@champion")) / "artifacts" / "model"
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def one_line(capsys: pytest.CaptureFixture[str], task: str) -> str:
    """The line of the table that says what became of a task."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{task} ")]
    assert len(lines) == 1
    return lines[0]


def requirements(task: str) -> set[str]:
    """The packages that the champion's version lists."""
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{task}@champion/requirements.txt"))
    return {line.split("==")[0] for line in place.read_text().splitlines()}
