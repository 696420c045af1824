"""Programs as processes: started, watched, stopped, and known after the tool was restarted."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.config import ConfigError
from tasks.parameters import typed
from tests.conftest import PROJECT_ROOT
from ui.running import processes
from ui.running.live_run import duration, live_run
from ui.running.processes import FAILED, FINISHED, RUNNING, STOPPED, WAITING, Process, ProcessError
from ui.running.programs import changed, command_line, problems, program, programs

PRETENDED = """
import json, os, sys, time
print(json.dumps({"arguments": sys.argv[1:], "context": os.environ["MLFLOW_RUN_CONTEXT"],
                  "retries": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"), "folder": os.getcwd()}))
if "--seed=1" in sys.argv:
    sys.exit("error: \\x1b[31mseed 1\\x1b[0m brings <script>alert(1)</script> no luck")
if "--seed=2" in sys.argv:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopped as by Ctrl-C", flush=True)
        sys.exit(130)
"""


@pytest.fixture
def pretended(store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of a few lines in the place of `cnn`: seed 1 fails at once, seed 2 works for a minute."""
    (store / "pretended.py").write_text(PRETENDED)
    stand_in = dataclasses.replace(program("cnn"), module="pretended")
    monkeypatch.setattr(processes, "program", lambda name: stand_in if name == "cnn" else program(name))
    return store


def when(process: Process, *states: str, seconds: float = 30.0) -> Process:
    """The process once it is in one of the states."""
    end = time.monotonic() + seconds
    while (now := processes.find(process.id)).state not in states:
        assert time.monotonic() < end, f"still {now.state}: {processes.log_tail(process.id)}"
        time.sleep(0.05)
    return now


def test_a_program_gets_its_arguments_and_ends(pretended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    process = processes.start("cnn", {"seed": "0", "epochs": "3", "data_dir": "--help; $(touch x)"})
    done = when(process, FINISHED, FAILED)
    assert (done.state, done.code, done.entry) == (FINISHED, 0, "cnn")
    assert done.title == "lenet5 on digits"
    said = json.loads(processes.log_tail(process.id))
    # Each in one piece, no shell in between; the default seed is left out.
    assert said["arguments"] == ["--epochs=3", "--data_dir=--help; $(touch x)"]
    assert json.loads(said["context"]) == {processes.TAG: process.id}
    assert said["retries"] is None
    assert said["folder"] == str(pretended)
    assert not (pretended / "x").exists()


def test_a_program_that_dies_at_once_has_failed_with_its_last_line(pretended: Path) -> None:
    done = when(processes.start("cnn", {"seed": "1"}), FINISHED, FAILED)
    assert (done.state, done.code) == (FAILED, 1)
    last = processes.log_tail(done.id, 1)
    assert last == "error: seed 1 brings <script>alert(1)</script> no luck"


def test_stop_ends_as_ctrl_c_does_and_once_is_enough(pretended: Path) -> None:
    process = when(processes.start("cnn", {"seed": "2"}), RUNNING)
    while "folder" not in processes.log_tail(process.id):  # Python itself has begun
        time.sleep(0.05)
    with pytest.raises(ProcessError, match="stop it first"):
        processes.forget(process.id)
    for _ in range(2):  # a second click changes nothing
        asked = processes.stop(process.id)
        assert asked.stopping or asked.state == STOPPED
    done = when(process, STOPPED)
    assert done.code == 130
    assert processes.log_tail(process.id, 1) == "stopped as by Ctrl-C"
    assert processes.stop(process.id) == done  # nothing left to do
    processes.forget(process.id)
    assert processes.processes() == []


def test_programs_beyond_the_places_wait_and_can_be_stopped_there(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "PLACES", 1)
    monkeypatch.setattr(processes, "MOST_ACTIVE", 3)
    first = when(processes.start("cnn", {"seed": "2"}), RUNNING)
    second, third = (processes.start("cnn", {"seed": "0", "epochs": str(epochs)}) for epochs in (2, 3))
    with pytest.raises(ProcessError, match="3 programs are running or queued already"):
        processes.start("cnn", {})
    assert [process.id for process in processes.processes()] == [third.id, second.id, first.id]
    processes.stop(third.id)
    assert when(third, STOPPED).began is None
    assert processes.find(second.id).state == WAITING
    processes.stop(first.id)
    when(first, STOPPED)
    assert when(second, FINISHED, FAILED).state == FINISHED


def test_a_process_outlives_who_started_it(pretended: Path) -> None:
    script = (
        "import dataclasses; from ui.running import processes, programs\n"
        "stand_in = dataclasses.replace(programs.program('cnn'), module='pretended')\n"
        "processes.program = lambda name: stand_in\n"
        "print(processes.start('cnn', {'seed': '2'}).id, flush=True)"
    )
    server = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    process = when(processes.find(server.stdout.strip()), RUNNING)
    assert os.getsid(process.pid) != os.getsid(0)  # what ends the terminal does not reach it
    processes.stop(process.id)
    when(process, STOPPED)


def test_a_killed_program_and_a_killed_wrapper_are_noticed(pretended: Path) -> None:
    process = when(processes.start("cnn", {"seed": "2"}), RUNNING)
    psutil.Process(process.pid).kill()
    assert when(process, FAILED).code == -9

    process = when(processes.start("cnn", {"seed": "2"}), RUNNING)
    wrapper = json.loads((processes.home() / process.id / "wrapper.json").read_text())["pid"]
    psutil.Process(wrapper).kill()
    psutil.wait_procs([psutil.Process(process.pid)], timeout=0.1)
    assert processes.find(process.id).state == RUNNING  # it goes on, without anybody who waits for it
    processes.stop(process.id)
    done = when(process, STOPPED)
    assert done.ended is None and duration(done) == "an unknown time"


def test_a_recycled_pid_is_somebody_else(store: Path) -> None:
    folder = processes.home() / "20260101-120000-0123abcd"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text(json.dumps({"entry": "cnn", "values": {}, "started": 1.0}))
    (folder / "wrapper.json").write_text(json.dumps({"pid": os.getpid(), "began": time.time() - 86_400}))
    (folder / "program.json").write_text(json.dumps({"pid": os.getpid(), "began": time.time() - 86_400}))
    assert processes.find(folder.name).state == FAILED
    processes.stop(folder.name)  # and this test goes on
    assert not (folder / "stop").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"entry": 3, "values": {}}', '{"entry": "cnn", "values": []}'])
def test_damaged_folders_are_no_processes(store: Path, content: str) -> None:
    folder = processes.home() / "20260101-120000-0123abcd"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text(content)
    assert processes.processes() == []


def test_odd_numbers_in_files_do_no_harm(store: Path) -> None:
    folder = processes.home() / "20260101-120000-0123abcd"
    folder.mkdir(parents=True)
    (folder / "process.json").write_text('{"entry": "cnn", "values": {"epochs": 3}, "started": "noon"}')
    for pid in ("x", -1, 10**30, None, [1]):
        (folder / "wrapper.json").write_text(json.dumps({"pid": pid, "began": "x"}))
        assert processes.find(folder.name).state == FAILED


@pytest.mark.parametrize("name", ["../x", "..", "", "/etc", "20260101-120000-0123abcd/..", "20260101-120000-0123abcd"])
def test_ids_that_are_not_ours_are_refused(store: Path, name: str) -> None:
    for action in (processes.find, processes.stop, processes.forget):
        with pytest.raises(ProcessError, match="there is no process"):
            action(name)
    assert (store / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("entry", "values", "words"),
    [
        ("../cnn", {}, "entry point is '../cnn'; valid: cnn, seq2seq"),
        ("cnn", {"epochs": "0"}, "epochs is 0; valid: auto, a whole number from 1"),
        ("cnn", {"epochs": "three"}, "epochs is 'three'; valid: auto, a whole number from 1 to 100000"),
        ("cnn", {"model": "lenet"}, "did you mean 'lenet5'"),
        ("cnn", {"learning_rate": "nan"}, "learning_rate is nan"),
        ("cnn", {"flip": "maybe"}, "flip is 'maybe'; valid: auto, true or false"),
        ("cnn", {"model": ""}, "model is empty; its default is lenet5"),
        ("cnn", {"data_dir": "a\nb"}, "data_dir has invisible characters"),
        ("cnn", {"data_dir": "a\0b"}, "data_dir has invisible characters"),
        ("cnn", {"data_dir": "x" * 2000}, "data_dir has 2,000 characters"),
        ("cnn", {"config": "x"}, "'config' is no parameter of cnn"),
        ("seq2seq", {"min_length": "30"}, r"min_length is 30; valid: max_length \(20\) at most"),
        ("compare", {"models": "small,lenet"}, "models names 'lenet'"),
        ("compare", {"kind": "seq2seq", "datasets": "digits"}, "datasets names 'digits'"),
        ("compare", {"kind": "task", "seeds": "2"}, "seeds is 2, which has no meaning for kind=task"),
        ("tune", {"kind": "seq2seq", "image_size": "64"}, "image_size is 64, which has no meaning for kind=seq2seq"),
        ("register", {"limit": "5"}, "limit is 5, which has no meaning for a registration"),
        ("benchmark", {"model": ","}, "model is ',', which names nothing"),
    ],
)
def test_what_cannot_work_is_refused_in_words(store: Path, entry: str, values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        processes.start(entry, values)
    assert processes.processes() == []


def test_problems_are_told_field_by_field() -> None:
    wrong = problems(program("cnn"), {"epochs": "0", "seed": "-1", "model": "lenet5"})
    assert set(wrong) == {"epochs", "seed"}
    assert set(problems(program("seq2seq"), {"min_length": "9", "max_length": "8"})) == {"min_length"}


def test_every_default_can_be_started_as_it_stands() -> None:
    assert {"cnn", "seq2seq", "compare", "benchmark", "register"} <= set(programs())
    for one in programs().values():
        texts = {name: typed(spec["default"]) for name, spec in one.specs.items()}
        assert problems(one, texts) == {} and changed(one, texts) == {}
        assert (PROJECT_ROOT / f"{one.module.replace('.', '/')}.py").exists()
        assert set(one.headline) <= set(one.specs)


def test_the_command_line_is_safe_to_paste() -> None:
    line = command_line(program("cnn"), {"epochs": "3", "data_dir": "my data; rm -rf ~"})
    assert line == (
        "mlflow run . -e cnn --env-manager local --experiment-name cnn -P epochs=3 -P 'data_dir=my data; rm -rf ~'"
    )


def test_a_real_training_is_tagged_and_stops_cleanly(store: Path) -> None:
    """The program itself: its run carries the tag, and Stop ends the run as KILLED."""
    process = processes.start("cnn", {"epochs": "5000", "train_size": "100", "batch_size": "50", "threads": "1"})
    when(process, RUNNING)
    end = time.monotonic() + 120
    while "epoch" not in processes.log_tail(process.id, 1):
        assert processes.find(process.id).active and time.monotonic() < end, processes.log_tail(process.id)
        time.sleep(0.2)
    run = live_run(process)
    assert run is not None and run.status == "RUNNING" and {"loss", "accuracy"} <= set(run.kinds)
    processes.stop(process.id)
    assert when(process, STOPPED).code == 130
    run = live_run(process)
    assert run is not None and run.status == "KILLED"
