"""Two processes by torchrun on a CPU (gloo): they agree, log once, do what one process does, and fail together."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from mlflow import MlflowClient

from experiments import train_cnn, train_seq2seq
from tests.conftest import PROJECT_ROOT
from tests.support.killing import train_and_die
from tests.support.local_hub import local_hub, use_in_process
from tests.support.own_pictures import files, in_folder
from tests.support.runs import histories, only_run, weights
from tests.support.timm_hub import put_on_hub, timm_weights

pytestmark = pytest.mark.full

# fp32 and networks without batch norm or dropout: then the number of processes only changes the order of additions.
SHARED = "--batch_size 50 --precision fp32 --device cpu --threads 1"
CNN = shlex.split(f"{SHARED} --epochs 2 --train_size 210")
SEQ2SEQ = shlex.split(
    f"{SHARED} --epochs 3 --vocab_size 9 --max_length 6 --hidden_size 16 --train_size 200 --val_size 50 "
    "--test_size 50 --probe_size 10 --stop_at 0 --register no"
)
PROGRAM = str(PROJECT_ROOT / "tests" / "support" / "two_processes.py")


def torchrun(*program: str, port: int, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program on two processes, of which the second may have a fault."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "FAULT": fault}
    return subprocess.run([*launcher, *program], capture_output=True, text=True, timeout=400, env=environment)


def assert_as_alone(run_id: str, program: Any, arguments: list[str], epochs: int) -> None:
    """A run ended with the weights and curves of one that one process trains without a break."""
    alone = program.main(arguments)
    found = weights(run_id, epochs)
    for name, value in weights(alone.run_id, epochs).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    for key in ("train_loss", "val_loss"):
        curve = histories(run_id)[key]
        assert [step for step, _ in curve] == list(range(1, epochs + 1))
        expected = [value for _, value in histories(alone.run_id)[key]]
        assert [value for _, value in curve] == pytest.approx(expected, rel=1e-3)


def test_two_processes_agree_log_once_and_equal_one_process(store: Path) -> None:
    trained = torchrun(PROGRAM, *CNN, port=29617)
    assert trained.returncode == 0, trained.stderr
    first, second = (safetensors.torch.load_file(store / f"rank-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    run = only_run()
    assert run.info.status == "FINISHED"
    assert len(MlflowClient().search_model_versions("name = 'cnn-digits'")) == 1
    assert_as_alone(run.info.run_id, train_cnn, [*CNN, "--register", "no"], 2)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("nan", "DivergedError: the loss is nan in epoch 2, batch 3; "),
        ("raise", "TrainingError: process 1 failed with ValueError: rank 1 is out of luck"),
    ],
)
def test_what_goes_wrong_on_another_process_is_said_by_the_run(store: Path, fault: str, error: str) -> None:
    trained = torchrun(PROGRAM, *CNN, port=29617, fault=fault)
    assert trained.returncode != 0
    run = only_run()
    assert run.info.status == "FAILED", trained.stderr
    assert run.data.tags["error"].startswith(error)
    assert f"error: {error.split(': ', 1)[1]}" in trained.stderr


@pytest.mark.parametrize("begun_alone", [False, True])
def test_two_processes_train_a_gru_or_resume_what_one_began(begun_alone: bool, store: Path) -> None:
    arguments = SEQ2SEQ
    if begun_alone:
        assert train_and_die("in an epoch", 2, SEQ2SEQ, "train_seq2seq") == -signal.SIGKILL
        arguments = ["--resume", only_run().info.run_id]
    done = torchrun("-m", "experiments.train_seq2seq", *arguments, port=29619)
    assert done.returncode == 0, done.stderr
    assert ("resuming after epoch 1" in done.stdout) == begun_alone
    assert ("not bit-exact with an uninterrupted run: processes 1 -> 2" in done.stderr) == begun_alone
    run = only_run()
    assert run.info.status == "FINISHED"
    assert_as_alone(run.info.run_id, train_seq2seq, SEQ2SEQ, 3)


def test_pretrained_layers_are_frozen_and_thaw_on_both_processes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = timm_weights("resnet18")
    pets = in_folder(store / "pets", files(10))
    with local_hub() as hub:
        use_in_process(hub, store / "hub", monkeypatch)
        put_on_hub(hub, "resnet18", theirs)
        arguments = f"--dataset {pets} --model resnet18 --image_size 128 --weights pretrained --revision main"
        arguments += " --freeze_epochs 1 --epochs 2 --batch_size 6 --precision fp32 --device cpu --threads 1"
        trained = torchrun(PROGRAM, *arguments.split(), port=29627)
    assert trained.returncode == 0, trained.stderr
    first, second = (safetensors.torch.load_file(store / f"rank-{rank}.safetensors") for rank in (0, 1))
    learned = [name for name in first if "running" not in name]  # statistics are those of each one's own last batch
    assert all(torch.equal(first[name], second[name]) for name in learned)
    run_id, filters = only_run().info.run_id, "features.0.0.weight"
    assert torch.equal(weights(run_id, 1)[filters], theirs["conv1.weight"])
    assert not torch.equal(weights(run_id, 2)[filters], theirs["conv1.weight"])
