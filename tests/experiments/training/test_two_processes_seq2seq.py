"""The GRU on two processes does what it does on one, and goes on there with what one process began."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from experiments import train_seq2seq
from tests.support.killing import train_and_die
from tests.support.runs import histories, only_run, weights

pytestmark = pytest.mark.full

# fp32, no dropout, no batch norm: then the number of processes only changes the order of additions.
EPOCHS = 3
ARGUMENTS = [
    "--epochs", str(EPOCHS), "--vocab_size", "9", "--max_length", "6", "--hidden_size", "16", "--train_size", "200",
    "--batch_size", "50", "--val_size", "50", "--test_size", "50", "--probe_size", "10", "--stop_at", "0",
    "--precision", "fp32", "--device", "cpu", "--threads", "1", "--register", "no",
]  # fmt: skip
RELATIVE, ABSOLUTE = 1e-3, 1e-5


def on_two_processes(arguments: list[str], port: int) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    program = ["-m", "experiments.train_seq2seq", *arguments]
    command = [sys.executable, *launcher, *program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done


def assert_as_alone(run_id: str) -> None:
    """A run ended with the weights and curves of one that one process trains without a break."""
    alone = train_seq2seq.main(ARGUMENTS)
    assert alone is not None
    found = weights(run_id, EPOCHS)
    for name, value in weights(alone.run_id, EPOCHS).items():
        torch.testing.assert_close(found[name], value, rtol=RELATIVE, atol=ABSOLUTE)
    for key in ("train_loss", "val_loss"):
        curve = histories(run_id)[key]
        assert [step for step, _ in curve] == list(range(1, EPOCHS + 1))
        expected = [value for _, value in histories(alone.run_id)[key]]
        assert [value for _, value in curve] == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.full
def test_two_processes_do_what_one_does(store: Path) -> None:
    on_two_processes(ARGUMENTS, port=29619)
    run = only_run()
    assert run.info.status == "FINISHED"
    assert_as_alone(run.info.run_id)


@pytest.mark.full
def test_two_processes_go_on_with_what_one_began(store: Path) -> None:
    assert train_and_die("in an epoch", 2, ARGUMENTS, "train_seq2seq") == -signal.SIGKILL
    run_id = only_run().info.run_id
    done = on_two_processes(["--resume", run_id], port=29621)
    assert "resuming after epoch 1" in done.stdout
    assert "not bit-exact with an uninterrupted run: processes 1 -> 2" in done.stderr
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    assert_as_alone(run_id)
