"""Two processes by torchrun on a CPU (gloo): they agree, log once, do what one process does, and fail together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from mlflow import MlflowClient

from experiments import train_cnn
from tests.conftest import PROJECT_ROOT
from tests.support.runs import only_run

pytestmark = pytest.mark.full

# fp32 and a network without batch norm or dropout: then the number of processes only changes the order of additions.
ARGUMENTS = [
    "--epochs",
    "2",
    "--train_size",
    "210",
    "--batch_size",
    "50",
    "--precision",
    "fp32",
    "--device",
    "cpu",
    "--threads",
    "1",
]


def torchrun(fault: str = "") -> subprocess.CompletedProcess[str]:
    """Train on two processes, of which the second may have a fault."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617"]
    script = [str(PROJECT_ROOT / "tests" / "support" / "two_processes.py"), *ARGUMENTS]
    environment = {**os.environ, "FAULT": fault}
    return subprocess.run([*launcher, *script], capture_output=True, text=True, timeout=240, env=environment)


def test_two_processes_agree_log_once_and_equal_one_process(store: Path) -> None:
    trained = torchrun()
    assert trained.returncode == 0, trained.stderr
    first, second = (safetensors.torch.load_file(store / f"rank-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)

    client = MlflowClient()
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]
    assert len(client.search_model_versions("name = 'cnn-digits'")) == 1

    alone = train_cnn.main([*ARGUMENTS, "--register", "no"])
    assert alone is not None
    folder = Path(client.get_run(alone.run_id).info.artifact_uri or "") / "checkpoints" / "epoch-0002"
    expected = safetensors.torch.load_file(folder / "model.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("nan", "DivergedError: the loss is nan in epoch 2, batch 3; "),
        ("raise", "TrainingError: process 1 failed with ValueError: rank 1 is out of luck"),
    ],
)
def test_what_goes_wrong_on_another_process_is_said_by_the_run(store: Path, fault: str, error: str) -> None:
    trained = torchrun(fault)
    assert trained.returncode != 0
    run = only_run()
    assert run.info.status == "FAILED", trained.stderr
    assert run.data.tags["error"].startswith(error)
    assert f"error: {error.split(': ', 1)[1]}" in trained.stderr
