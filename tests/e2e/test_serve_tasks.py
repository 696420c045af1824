"""A pretrained model from `register` to an answer over HTTP: `mlflow models serve` of a champion, with a tiny model."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.serving import post, serving
from tests.support.tiny_models import save

pytestmark = pytest.mark.full

TASK = "story-completion"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The address at which the champion is served, after a program of its own has registered it."""
    folder = tmp_path_factory.mktemp("serve")
    shutil.copy(empty_store, folder / "mlflow.db")
    model = save("gpt2", folder / "tiny-gpt2")
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    command = [sys.executable, "-m", "experiments.register", "--task", TASK, "--model", str(model)]
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, timeout=300)
    with serving(TASK, environment, folder) as address:
        yield address


def test_a_registered_text_model_answers_over_http(server: str) -> None:
    rows = [{"text": "Once upon a time"}, {"text": "The little dog"}]
    parameters = {"max_new_tokens": 6, "temperature": 0.0}
    status, answer = post(server, {"dataframe_records": rows, "params": parameters})
    assert status == 200
    first, second = answer["predictions"]
    assert first["tokens"] == second["tokens"] == 6 and first["model"] == "tiny-gpt2"
    assert isinstance(first["completion"], str) and first["completion"] != second["completion"]
    # Asked again, and alone, it writes the same.
    status, again = post(server, {"inputs": rows[1:], "params": parameters})
    assert status == 200 and again["predictions"][0]["completion"] == second["completion"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"inputs": [{"text": " "}], "params": {"max_new_tokens": 6}}, "text is only white space"),
        ({"inputs": [{"text": "a"}], "params": {"max_new_tokens": 0}}, "max_new_tokens is 0; valid: a whole number"),
        ({"inputs": [{"text": "a"}], "params": {"max_new_tokens": 5000}}, "valid: a whole number from 1 to 4096"),
        ({"inputs": [{"words": "a"}]}, "missing inputs ['text']"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_without_a_trace(server: str, payload: Any, expected: str) -> None:
    status, answer = post(server, payload)
    assert status == 400 and expected in answer
    assert "Traceback" not in answer and ".py" not in answer
