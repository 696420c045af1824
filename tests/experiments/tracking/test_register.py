"""A trained model is registered once, also where a server has made the version and could not say so."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.exceptions import MlflowException

from experiments.tracking import register
from experiments.tracking.record import Registration, SavedModel
from tasks import registry


@pytest.fixture
def mute_server() -> Iterator[tuple[str, list[str]]]:
    """A server that closes each connection without an answer: its address, and what it was asked."""
    asked: list[str] = []

    class Mute(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing to the terminal."""

    with HTTPServer(("127.0.0.1", 0), Mute) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("retries", ["2", None])
def test_a_version_whose_answer_was_lost_is_not_asked_for_again(
    retries: str | None, mute_server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, asked = mute_server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    if retries is None:
        monkeypatch.delenv(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, raising=False)
    else:
        monkeypatch.setenv(MLFLOW_HTTP_REQUEST_MAX_RETRIES.name, retries)
    client = MlflowClient(uri, uri)
    monkeypatch.setattr(register, "_logged", lambda _: "m-1")
    monkeypatch.setattr(registry, "version_of_run", lambda *_: None)
    monkeypatch.setattr(registry, "register", lambda uri, name, _: client.create_registered_model(name))
    model = SavedModel("image-classification", "lenet5", "cnn-digits", {})
    wanted = Registration({}, "val_accuracy", promote=True)
    with pytest.raises(MlflowException, match="API request to"):
        register.log_and_register("run", model, tmp_path, wanted, lambda _: None)
    assert asked == ["/api/2.0/mlflow/registered-models/create"]
    assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get_raw() == retries  # what comes after is asked as patiently as before
