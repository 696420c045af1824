"""A registered champion behind `mlflow models serve`, for tests that ask it over HTTP."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(name: str, environment: Mapping[str, str], folder: Path | None = None) -> Iterator[str]:
    """The address at which the champion of `name` is served; the server ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = ["models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *serve, "--port", str(port), "--workers", "1"],
        env={key: value for key, value in environment.items() if key != "PYTHONPATH"},  # the model has its own code
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/ping", process)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen, seconds: float = 240) -> None:
    """Return when the address answers. Raises AssertionError if the server ends or takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended before it answered"
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer within {seconds} s")


def post(address: str, payload: Any) -> tuple[int, Any]:
    """Ask a served model: status, and the answer (decoded, or the text of an error)."""
    body = json.dumps(payload).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
