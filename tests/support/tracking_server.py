"""A real `mlflow server` for tests, with proxied artifacts: killed and started again at the same address."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest

from tests.conftest import PROJECT_ROOT
from tests.support.serving import wait_for

# How long MLflow waits for a server: as it does by itself, or as the programs say.
PATIENCE = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT")


class TrackingServer:
    """One server; `uri` is its address, `artifacts` the folder that it keeps artifacts in."""

    def __init__(self, backend: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.backend, self.folder, self.artifacts = backend, folder, folder / "artifacts"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["--backend-store-uri", self.backend, "--artifacts-destination", str(self.artifacts),
                   "--serve-artifacts", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]  # fmt: skip
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(f"{self.uri}/health", self._process)

    def kill(self) -> None:
        """End it at once and without a word, with its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None


@contextmanager
def tracking_server(backend: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    """A running server, in force for MLflow here and for programs started from here; the working directory is new."""
    server = TrackingServer(backend, folder / "server")
    work = folder / "work"
    work.mkdir()
    patch.chdir(work)
    patch.setenv("MLFLOW_TRACKING_URI", server.uri)
    patch.setenv("PYTHONPATH", str(PROJECT_ROOT))
    patch.setenv("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", *PATIENCE):
        patch.delenv(name, raising=False)
    mlflow.set_tracking_uri(server.uri)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        mlflow.set_tracking_uri(None)
