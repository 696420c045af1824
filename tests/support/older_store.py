"""The store that version 0.1.0 wrote (`tests/fixtures/store_0_1`): unpack it, activate it, what to ask its models."""

import os
import shlex
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from huggingface_hub import constants
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.datasets import load_digits

from tests.conftest import PROJECT_ROOT

ARCHIVE = PROJECT_ROOT / "tests" / "fixtures" / "store_0_1" / "store_0_1.tar.xz"
PLACEHOLDER = "@STORE@"
# Files that never hold a path.
WITHOUT_PATHS = (".db", ".npz", ".png", ".py", ".safetensors")
SEVEN = np.round(load_digits(return_X_y=True)[0][7].reshape(8, 8) * (255 / 16)).astype(int).tolist()


@dataclass(frozen=True)
class Question:
    """What a champion is asked; `expected` is what version 0.1.0 answered in the column `output`."""

    task: str
    row: dict[str, Any]
    output: str
    expected: Any
    parameters: dict[str, Any] = field(default_factory=dict)

    def check(self, answer: Any) -> None:
        """Raise AssertionError for another answer; of an image, the format is enough."""
        said = answer[self.output]
        assert said.startswith(self.expected) if self.output == "image" else said == self.expected
        assert answer["model"] and answer["seconds"] >= 0


GREEDY = {"temperature": 0.0}
CHAT = [{"role": "user", "content": "Hello"}]
SMALL_IMAGE = {"steps": 2, "width": 64, "height": 64, "seed": 0}
# By registered model. Those of text models are tiny and mostly random, hence their answers.
QUESTIONS = {
    "cnn-digits": Question("image-classification", {"image": SEVEN}, "label", "7"),
    "seq2seq-reverse": Question("sequence-reversal", {"sequence": [3, 1, 4, 7]}, "reversed", [7, 4, 1, 3]),
    "sentiment-analysis": Question("sentiment-analysis", {"text": "A warm and clever film."}, "label", "LABEL_1"),
    "question-answering": Question(
        "question-answering", {"question": "Who wrote it?", "context": "Ada wrote it in London."}, "answer", "Ada wrote"
    ),
    "next-word-prediction": Question("next-word-prediction", {"text": "Once upon a"}, "next_word", "time"),
    "story-completion": Question(
        "story-completion",
        {"text": "Once upon"},
        "completion",
        " a time there was a cat who sat",
        {"max_new_tokens": 8, **GREEDY},
    ),
    "summarization": Question(
        "summarization",
        {"text": "The little dog ran home."},
        "summary",
        "hм bραв Loραв",
        {"max_length": 8, "num_beams": 1},
    ),
    "chatbot": Question(
        "chatbot", {"messages": CHAT}, "reply", "\ufffd sch\ufffd fil", {"max_new_tokens": 4, **GREEDY}
    ),
    "image-generation": Question("image-generation", {"prompt": "a cat"}, "image", "iVBOR", SMALL_IMAGE),
}
# The arguments that `make.py` gave the study, without the number of trials.
STUDY = shlex.split(
    "--epochs 2 --seeds 1 --pruner none --device cpu --precision fp32 --threads 1 --search learning_rate=0.02:0.2,"
    "batch_size=25,optimizer=sgd,weight_decay=5e-4,label_smoothing=0,crop=0,cutout=0,schedule=constant,warmup=0,"
    "ema_decay=0"
)
NETWORKS = ("cnn-digits", "seq2seq-reverse")
# A program that asks models as JSON says, each with the code that was logged with it.
ASK_COPIES = """
import json, sys
import mlflow

answers = {}
for name, question in json.load(sys.stdin).items():
    for module in [module for module in sys.modules if module.split(".")[0] in ("tasks", "models")]:
        del sys.modules[module]
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    [answer] = model.predict([question["row"]], question["parameters"])
    answers[name] = [answer, sys.modules["tasks"].__file__]
print(json.dumps(answers))
"""


def unpack(folder: Path) -> Path:
    """Unpack the store into a folder, with that folder in place of the placeholder in all files and tables."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    store = folder / "store"
    for file in store.rglob("*"):
        if file.suffix not in WITHOUT_PATHS and file.is_file():
            content = file.read_bytes()
            if PLACEHOLDER.encode() in content:
                file.write_bytes(content.replace(PLACEHOLDER.encode(), str(store).encode()))
    database = sqlite3.connect(store / "mlflow.db")
    with database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)"
                database.execute(change, (PLACEHOLDER, str(store), PLACEHOLDER))
    database.close()
    return store


@contextmanager
def active(store: Path, uri: str = "") -> Iterator[None]:
    """Make a store the one that this process and its child processes use, and its folder the working directory."""
    uri = uri or f"sqlite:///{store / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_LOGGING_LEVEL", "ERROR")
        patch.setenv("PYTHONPATH", str(PROJECT_ROOT))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # of `mlflow models serve`
        for name, value in (("HF_HUB_CACHE", str(store / "hub")), ("HF_HUB_OFFLINE", "1")):
            patch.setenv(name, value)
            patch.setattr(constants, name, value)
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        mlflow.set_tracking_uri(uri)
        yield
        mlflow.set_tracking_uri(None)


def runs(experiment: str, condition: str) -> list[Run]:
    """The runs of an experiment for which a condition holds."""
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], condition))
