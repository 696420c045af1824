"""The way of the README for real: `mlflow run`, then `mlflow models serve`, then a PNG over HTTP."""

import base64
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from sklearn.datasets import load_digits

from tests.conftest import PROJECT_ROOT
from tests.support.serving import post, serving

pytestmark = pytest.mark.full

MLFLOW = [sys.executable, "-m", "mlflow"]


CNN = ["-P", "epochs=8", "-P", "learning_rate=5e-3"]
SEQ2SEQ = ["-P", "cell=transformer", "-P", "positions=relative", "-P", "max_length=4", "-P", "vocab_size=8",
           "-P", "train_size=1500", "-P", "epochs=40", "-P", "hidden_size=32", "-P", "probe_size=20"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, str]:
    """The environment of a store in which `mlflow run` has trained a CNN and an encoder-decoder."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(empty_store, folder / "mlflow.db")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("cnn", "seq2seq"):
        client.create_experiment(name, artifact_location=str(folder / "artifacts"))
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name, parameters in (("cnn", CNN), ("seq2seq", SEQ2SEQ)):
        command = [*MLFLOW, "run", str(PROJECT_ROOT), "-e", name, "--env-manager", "local", "--experiment-name", name]
        subprocess.run(
            [*command, *parameters, "-P", "threads=2"],
            env=environment,
            check=True,
            capture_output=True,
            cwd=folder,
            timeout=300,
        )
    return environment


def test_mlflow_run_trains_logs_and_registers(trained: dict[str, str]) -> None:
    client = MlflowClient(trained["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("cnn")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "5e-3" and run.data.params["optimizer"] == "adamw"
    assert run.data.metrics["test_accuracy"] > 0.85
    assert client.get_model_version_by_alias("cnn-digits", "champion").run_id == run.info.run_id


@pytest.fixture(scope="module")
def server(trained: dict[str, str]) -> Iterator[str]:
    """The address of the served champion of the CNNs."""
    with serving("cnn-digits", trained) as address:
        yield address


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_the_served_champion_classifies_pictures(server: str) -> None:
    images, labels = load_digits(return_X_y=True)
    pictures = [png(np.round(image.reshape(8, 8) * (255 / 16)).astype(np.uint8)) for image in images[:50]]
    status, answer = post(server, {"inputs": [{"image": picture} for picture in pictures]})
    assert status == 200
    right = [row["label"] == str(label) for row, label in zip(answer["predictions"], labels, strict=False)]
    assert len(right) == 50 and sum(right) > 40
    assert set(answer["predictions"][0]) == {"label", "score", "scores", "model", "seconds"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"inputs": [{"image": "no base64!"}]}, "image is not valid base64"),
        ({"inputs": [{"image": base64.b64encode(b"GIF89a").decode()}]}, "image is not a PNG or JPEG"),
        ({"inputs": [{"picture": "x"}]}, "missing inputs ['image']"),
        ({"inputs": [{"image": [[1, 2], [3]]}]}, "image has rows of unequal length"),
        ({"inputs": [{"image": [[300, 0], [0, 0]]}]}, "image has pixels outside 0 to 255"),
    ],
)
def test_the_server_says_what_was_wrong_and_shows_no_trace(server: str, payload: Any, expected: str) -> None:
    status, answer = post(server, payload)
    assert status == 400
    assert expected in answer
    assert "Traceback" not in answer and ".py" not in answer


def test_the_served_encoder_decoder_reverses_and_refuses(trained: dict[str, str]) -> None:
    with serving("seq2seq-reverse", trained) as address:
        sequences = [[1, 2, 3], [7, 0], [5], [4, 4, 1, 6]]
        status, answer = post(address, {"dataframe_records": [{"sequence": sequence} for sequence in sequences]})
        assert status == 200
        assert [row["reversed"] for row in answer["predictions"]] == [sequence[::-1] for sequence in sequences]
        assert len(answer["predictions"][0]["attention"]) == len(answer["predictions"][0]["attention"][0]) == 3
        said = "valid: 1 to 20 whole numbers from 0 to 7"
        # What is no number MLflow refuses itself, by the signature.
        for wrong, reason in (([], said), ([8], said), ([0] * 21, said), (["a"], "to type 'Array(long)'")):
            status, answer = post(address, {"dataframe_records": [{"sequence": wrong}]})
            assert status == 400 and reason in answer
            assert "Traceback" not in answer
