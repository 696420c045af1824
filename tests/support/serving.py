"""Servers as processes of their own: a champion behind `mlflow models serve`, and the gateway."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT_ROOT


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


def limit_descriptors(most: int) -> None:
    """What `ulimit -n` does, for this process and those that it starts."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass
class Server:
    """A gateway, or the tool, as a process of its own."""

    address: str
    process: subprocess.Popen
    log: Path  # of what it says

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def serving_gateway(
    store: Path, *arguments: str, descriptors: int | None = None, **environment: str
) -> Iterator[Server]:
    """`python -m tasks.serve` over a store, on a free port; ends with the block. What it logs goes beside the store.

    Args: descriptors: how many it may open, as `ulimit -n` sets it.
    """
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}",
        "PYTHONPATH": str(PROJECT_ROOT),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    log = store.parent / "gateway.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.serve", "--port", "0", *arguments],
            env=variables,
            cwd=store.parent,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=None if descriptors is None else lambda: limit_descriptors(descriptors),
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            assert found, log.read_text()
            yield Server(found[0], process, log)
        finally:
            process.terminate()
            process.wait(timeout=60)
