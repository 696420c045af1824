"""Signals: the run ends as KILLED, a line says how to resume it, and what was cut off without a word is marked."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments import train_cnn
from experiments.config import ConfigError, RunUnavailableError
from experiments.training.resume import claim
from tasks.runs.last_word import have_the_last_word
from tests.support.killing import LOG, train_and_die
from tests.support.runs import TINY, all_runs, histories, only_run

pytestmark = pytest.mark.full

THREE = [*TINY, "--epochs", "3"]


@pytest.mark.parametrize(
    ("number", "where", "epoch"),
    [
        (signal.SIGTERM, "in an epoch", 3),
        (signal.SIGHUP, "before logging", 2),
        (signal.SIGINT, "after logging", 2),
        (signal.SIGTERM, "while testing", 1),
    ],
)
def test_a_signal_ends_the_run_as_killed_and_it_can_be_resumed(
    number: signal.Signals, where: str, epoch: int, store: Path
) -> None:
    assert train_and_die(where, epoch, THREE, number=number) == 128 + number
    run = only_run()
    assert run.info.status == "KILLED" and run.info.end_time
    printed = (store / LOG).read_text()
    resume = f"mlflow run . -e cnn --env-manager local -P resume={run.info.run_id}"
    assert printed.splitlines()[-1] == f"stopped ({number.name}); to resume: {resume}"
    assert "Traceback" not in printed
    assert train_cnn.main(["--resume", run.info.run_id]) is not None
    assert only_run().info.status == "FINISHED"
    assert [step for step, _ in histories(run.info.run_id)["val_loss"]] == [1, 2, 3]


def test_a_run_that_has_not_begun_ends_as_killed_and_promises_nothing(store: Path) -> None:
    assert train_and_die("before it begins", 1, TINY, number=signal.SIGTERM) == 143
    assert only_run().info.status == "KILLED"
    assert (store / LOG).read_text().splitlines()[-1] == "stopped (SIGTERM)"


def test_a_signal_at_the_very_end_waits_until_the_run_has_its_status(store: Path) -> None:
    assert train_and_die("while ending", 1, TINY, number=signal.SIGTERM) == 143
    assert only_run().info.status == "FINISHED"


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("compare", ["--models", "lenet5", "--epochs", "2", *TINY[2:4], "--threads", "1"]),
        ("tune", ["--epochs", "2", *TINY[2:4], "--threads", "1", "--trials", "2"]),
    ],
)
def test_programs_of_many_trainings_end_all_their_runs(program: str, arguments: list[str], store: Path) -> None:
    assert train_and_die("after logging", 1, arguments, program, signal.SIGTERM) == 143
    assert [run.info.status for run in all_runs()] == ["KILLED", "KILLED"]
    assert (store / LOG).read_text().splitlines()[-1] == "stopped (SIGTERM); to resume: the same command"


def test_a_run_killed_before_it_had_begun_is_marked_when_it_is_to_be_resumed(store: Path) -> None:
    assert train_and_die("before it begins", 1, TINY) == -signal.SIGKILL
    run_id = only_run().info.run_id
    assert only_run().info.status == "RUNNING"
    with claim(run_id), pytest.raises(RunUnavailableError, match="is just being started by another process"):
        train_cnn.main(["--resume", run_id])
    assert only_run().info.status == "RUNNING"
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=f"{run_id}.* was cut off before it had begun: .* start it anew"
        ) as caught:
            train_cnn.main(["--resume", run_id])
        assert "\n" not in str(caught.value)
        assert only_run().info.status == "KILLED"
        assert only_run().data.tags["error"] == "cut off before it had begun"


def test_running_runs_of_other_programs_are_left_to_them(store: Path) -> None:
    launched = {"mlflow.project.entryPoint": "main", "mlflow.source.name": f"file://{store}#other"}
    for tags in ({}, launched):
        foreign = MlflowClient().create_run("0", tags=tags).info.run_id
        with pytest.raises(ConfigError, match=r"has no config\.json"):
            train_cnn.main(["--resume", foreign])
        assert MlflowClient().get_run(foreign).info.status == "RUNNING"


def test_a_run_has_its_end_before_others_may_have_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_terminated, ended = MlflowClient.set_terminated, []

    def held_meanwhile(self: MlflowClient, run_id: str, status: str | None = None, *rest: int) -> None:
        if status == "FINISHED":
            with pytest.raises(RunUnavailableError):
                claim(run_id)
            ended.append(run_id)
        set_terminated(self, run_id, status, *rest)

    monkeypatch.setattr(MlflowClient, "set_terminated", held_meanwhile)
    train_cnn.main(TINY)
    assert ended == [only_run().info.run_id]
    claim(ended[0]).release()


def program(code: str, **environment: str) -> subprocess.Popen[str]:
    """A program of a few lines in the hands of `cli.run`."""
    lines = ["import os, signal, threading", "from pathlib import Path", "from experiments.config import cli", code]
    return subprocess.Popen(
        [sys.executable, "-c", "\n".join([*lines, "cli.run(main)"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


STUBBORN = """
def main():
    try:
        print("at work", flush=True)
        signal.pause()
    finally:
        print("ending", flush=True)
        while not Path("end").exists():
            threading.Event().wait(0.05)
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["the same", "another"])
def test_a_second_signal_ends_a_program_that_does_not_come_to_its_end(second: signal.Signals, store: Path) -> None:
    with program(f"from experiments.config import interrupts\ninterrupts.OTHER_SIGNAL_S = 0.5\n{STUBBORN}") as stubborn:
        assert stubborn.stdout and stubborn.stdout.readline() == "at work\n"
        stubborn.send_signal(signal.SIGTERM)
        assert stubborn.stdout.readline() == "ending\n"
        ended = threading.Event()
        threading.Thread(target=lambda: (stubborn.wait(), ended.set()), daemon=True).start()
        while not ended.wait(0.05):  # at first it counts as the same signal, sent on by somebody
            stubborn.send_signal(second)
        assert stubborn.returncode == -second


def test_another_signal_on_top_of_ctrl_c_is_no_second_one(store: Path) -> None:
    with program(STUBBORN) as stubborn:
        assert stubborn.stdout and stubborn.stdout.readline() == "at work\n"
        stubborn.send_signal(signal.SIGINT)
        assert stubborn.stdout.readline() == "ending\n"
        stubborn.send_signal(signal.SIGTERM)  # as `mlflow run` does
        (store / "end").touch()
        assert stubborn.stdout.read() == "stopped (SIGINT)\n"
    assert stubborn.returncode == 130


def test_under_nohup_the_end_of_the_terminal_is_no_signal(store: Path) -> None:
    code = "def main():\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('goes on')"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with program(code) as ignoring:
            assert ignoring.stdout and ignoring.stdout.read() == "goes on\n"
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ignoring.returncode == 0


def test_stopped_before_it_took_over_the_run_of_mlflow_run(store: Path) -> None:
    run_id = MlflowClient().create_run("0").info.run_id
    with program("def main():\n    os.kill(os.getpid(), signal.SIGTERM)", MLFLOW_RUN_ID=run_id) as early:
        assert early.wait(120) == 143
    end = time.monotonic() + 60
    while MlflowClient().get_run(run_id).info.status != "KILLED":
        assert time.monotonic() < end
        threading.Event().wait(0.1)


@pytest.mark.parametrize(("found", "left"), [("FAILED", "KILLED"), ("RUNNING", "RUNNING"), ("FINISHED", "FINISHED")])
def test_the_last_word_is_about_failed_runs_of_mlflow_run(store: Path, found: str, left: str) -> None:
    run_id = MlflowClient().create_run("0").info.run_id
    MlflowClient().update_run(run_id, status=found)
    with subprocess.Popen(["true"]) as ended:
        pass
    have_the_last_word(run_id, ended.pid, ["FAILED"])
    assert MlflowClient().get_run(run_id).info.status == left


def test_a_terminal_that_is_closed_ends_the_run(store: Path) -> None:
    keyboard, terminal = os.openpty()
    arguments = ["--epochs", "5000", "--train_size", "100", "--batch_size", "50", "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.train_cnn", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    ) as process:
        os.close(terminal)
        printed = b""
        while b"epoch" not in printed:
            printed += os.read(keyboard, 1000)
        os.close(keyboard)
        assert process.wait(120) == 128 + signal.SIGHUP
    assert only_run().info.status == "KILLED"


def test_a_signal_that_came_while_a_failed_run_was_ended_does_not_hide_why_it_failed(store: Path) -> None:
    code = """
from experiments.config import TrainingError, interrupts

def main():
    with interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        raise TrainingError("another rank is out of luck")
"""
    with program(code) as failed:
        assert failed.stdout
        assert failed.stdout.read() == "error: another rank is out of luck\nstopped (SIGTERM)\n"
    assert failed.returncode == 143
