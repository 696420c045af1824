"""`mlflow run`, stopped: the training that it started does not go on alone, and its run ends as KILLED."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import PROJECT_ROOT
from tests.support.runs import only_run

pytestmark = pytest.mark.full

ENDLESS = ["-P", "epochs=5000", "-P", "train_size=100", "-P", "batch_size=50", "-P", "threads=1"]


@pytest.mark.parametrize(
    ("send", "name"),
    [
        pytest.param(lambda command: os.kill(command, signal.SIGTERM), "SIGTERM", id="kill"),
        pytest.param(lambda command: os.killpg(command, signal.SIGINT), "SIGINT", id="Ctrl-C"),
    ],
)
def test_stopped_mlflow_run_ends_its_training(store: Path, send: Callable[[int], None], name: str) -> None:
    MlflowClient().create_experiment("cnn", artifact_location=str(store / "artifacts"))
    command = [sys.executable, "-m", "mlflow", "run", str(PROJECT_ROOT), "-e", "cnn", "--env-manager", "local"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--experiment-name", "cnn", *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout
        # Whatever goes wrong, this ends: the pipe is open while one of them lives.
        last_resort = threading.Timer(300, os.killpg, (process.pid, signal.SIGKILL))
        last_resort.start()
        begun = next(line for line in process.stdout if line.startswith("epoch"))
        send(process.pid)
        printed = process.stdout.read()
        last_resort.cancel()
    run = only_run()
    assert (
        f"stopped ({name}); to resume: mlflow run . -e cnn --env-manager local -P resume={run.info.run_id}" in printed
    ), begun + printed
    # MLflow's command line calls it FAILED for a moment.
    end = time.monotonic() + 60
    while only_run().info.status != "KILLED" and time.monotonic() < end:
        threading.Event().wait(0.1)
    assert only_run().info.status == "KILLED"
