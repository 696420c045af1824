"""What is shown of processes: the end of their logs, how far they are, their curves; and the first ones to start."""

import dataclasses
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tasks import PRETRAINED_TASKS
from tasks.catalog import catalog
from tasks.hub.package import PackageSource
from tasks.runs import claim_file
from tasks.texts import format_duration
from tests.support.processes import a_process
from ui.results.charts import by_epoch
from ui.running import first_start, processes
from ui.running.live_run import duration, last_said, live_run, progress, reason, remaining
from ui.running.process_log import MOST_BYTES, MOST_LINES, read_tail
from ui.running.processes import FAILED, FINISHED, RUNNING, WAITING
from ui.running.programs import problems, program


def test_the_end_of_a_long_log_is_read_quickly_and_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        for number in range(200_000):
            file.write(f"line {number:06d} {'x' * 45}\n")
    assert log.stat().st_size > 10 * 10**6
    started = time.perf_counter()
    tail = read_tail(log)
    assert time.perf_counter() - started < 0.5
    assert len(tail) <= MOST_BYTES and len(tail.split("\n")) == MOST_LINES
    assert tail.endswith(f"line 199999 {'x' * 45}")
    log.write_text("y" * 10**6)
    assert len(read_tail(log)) < 1000


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07word", "red word"),
        (b"10 %\r50 %\r100 %\r\nnext\n\n", "100 %\nnext"),
        (b"\x00a\x08b\x7f\xe2\x80\xaec", "\ufffda\ufffdb\ufffd\ufffdc"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"", ""),
    ],
)
def test_logs_have_nothing_but_text(tmp_path: Path, printed: bytes, shown: str) -> None:
    (tmp_path / "log.txt").write_bytes(printed)
    assert read_tail(tmp_path / "log.txt") == shown


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "log.txt") == ""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("LeNet-5\nepoch  3/30  loss 0.5\nepoch  4/30  loss 0.4", (4 / 30, "epoch 4 of 30")),
        ("[1/7] sentiment-analysis: x\n[3/7] chatbot: y\n      loaded", (2 / 7, "3 of 7")),
        (" 2/12  lenet5 on digits: test accuracy 0.9", (2 / 12, "2 of 12 done")),
        ("[1/1] chatbot: y", None),
        ("nothing 3/4 yet", None),
        ("5/0", None),
        ("9/3", None),
        ("", None),
    ],
)
def test_progress_is_the_last_count_of_the_log(log: str, expected: tuple[float, str] | None) -> None:
    assert progress(a_process(), log) == expected


def test_a_failure_is_told_in_its_own_words() -> None:
    assert reason(a_process(FAILED), "epoch 1/3\nerror: no space left\n\n") == "error: no space left"
    log = "[1/1] chatbot: x\n      not registered: the Hub cannot be reached\nerror: 1 of 1 tasks failed"
    assert reason(a_process(FAILED, "register"), log) == "not registered: the Hub cannot be reached"
    assert "exit code -9" in reason(a_process(FAILED, code=-9), "")


def test_a_curve_of_one_epoch_is_a_point_and_epochs_are_whole() -> None:
    drawn = by_epoch({"train": {1: 0.9}, "val": {1: 0.8}}, "loss").to_dict()
    assert drawn["mark"] == {"type": "line", "point": True}
    assert drawn["encoding"]["x"]["axis"] == {"format": "d", "tickMinStep": 1}
    assert [point["value"] for point in drawn["data"]["values"]] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("epoch 1/3\n/lib/x.py:3: UserWarning: old\n  warnings.warn(\n", "epoch 1/3"),
        ("      loaded\n2026/01/01 10:00:00 WARNING mlflow: slow\n[transformers] `x` is ignored", "      loaded"),
        ("\x1b", "\x1b"),
        ("/lib/x.py:3: FutureWarning: old", ""),
    ],
)
def test_what_libraries_warn_of_is_no_status(log: str, said: str) -> None:
    assert last_said(log) == said


def test_the_time_left_is_told_once_there_is_something_to_tell_it_from() -> None:
    begun = time.time() - 3600
    assert remaining(a_process(began=begun), 0.25).startswith("about 3 h ")
    assert remaining(a_process(began=begun), 0.01) == "" == remaining(a_process(WAITING, began=None), 0.5)


def test_lengths_of_time_in_words() -> None:
    assert [format_duration(seconds) for seconds in (0.4, 59.4, 61, 3725)] == ["0 s", "59 s", "1 min 1 s", "1 h 2 min"]
    assert duration(a_process(FINISHED, ended=64.0)) == "1 min 2 s"


def test_the_run_of_a_process_is_found_with_its_curves(store: Path) -> None:
    import mlflow

    process = a_process()
    assert live_run(process) is None
    with mlflow.start_run(run_name="another"):
        mlflow.log_metric("val_loss", 9.0, step=1)
    with mlflow.start_run(run_name="the one", tags={processes.TAG: process.id}) as run:
        for epoch in (1, 2):
            values = {"train_loss": 1 / epoch, "val_loss": 2 / epoch, "val_accuracy": 0.4 * epoch, "val_f1": 0.1}
            mlflow.log_metrics({**values, "learning_rate": 0.1}, step=epoch)
        mlflow.log_metric("train_loss", float("nan"), step=3)
    found = live_run(process)
    assert found is not None
    assert (found.run_id, found.name, found.status) == (run.info.run_id, "the one", "FINISHED")
    assert found.kinds == ["loss", "accuracy"]
    assert found.chart("loss") == {"train_loss": {1: 1.0, 2: 0.5}, "val_loss": {1: 2.0, 2: 1.0}}
    assert found.chart("accuracy") == {"val_accuracy": {1: 0.4, 2: 0.8}}
    # Resuming it is another process, and the same run.
    again = live_run(a_process(values={"resume": run.info.run_id}, id="20260101-120000-99999999"))
    assert again is not None and again.run_id == run.info.run_id


def test_of_a_comparison_the_training_at_work_is_shown(store: Path) -> None:
    import mlflow

    process = a_process(entry="compare")
    tags = {processes.TAG: process.id}
    with mlflow.start_run(run_name="all", tags=tags) as parent:
        for name in ("first", "second"):
            with mlflow.start_run(run_name=name, nested=True, tags=tags):
                mlflow.log_metric("val_loss", 1.0, step=1)
                time.sleep(0.01)
    found = live_run(process)
    assert found is not None
    assert (found.run_id, found.name, found.curve_of) == (parent.info.run_id, "all", "second")
    # A comparison that was resumed keeps the tag of the process before.
    mlflow.MlflowClient().delete_tag(parent.info.run_id, processes.TAG)
    found = live_run(process)
    assert found is not None and (found.run_id, found.curve_of) == (parent.info.run_id, "second")


def test_a_run_that_its_killed_process_left_running_is_ended(store: Path) -> None:
    import mlflow

    process = a_process(FAILED, code=-9)
    client, tags = mlflow.MlflowClient(), {processes.TAG: process.id}
    run = client.create_run("0", tags=tags)
    nested = client.create_run("0", tags={**tags, "mlflow.parentRunId": run.info.run_id})
    assert (seen := live_run(dataclasses.replace(process, state=RUNNING))) and seen.status == "RUNNING"
    claim_file(run).parent.mkdir(parents=True)
    with FileLock(claim_file(run)):  # as of a process that resumed it
        assert (seen := live_run(process)) and seen.status == "RUNNING"
    assert (seen := live_run(process)) and seen.status == "KILLED"
    assert client.get_run(nested.info.run_id).info.status == "KILLED"
    assert client.get_run(run.info.run_id).data.tags["error"] == "its process was killed"


def test_the_run_of_a_study_is_of_other_workers_too(store: Path) -> None:
    import mlflow

    process = a_process(FAILED, "tune", code=-9)
    mlflow.MlflowClient().create_run("0", tags={processes.TAG: process.id})
    assert (seen := live_run(process)) and seen.status == "RUNNING"


def test_first_steps_work_offline(store: Path, started: list, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = first_start.first_steps()
    assert [step.entry for step in steps][-2:] == ["cnn", "seq2seq"]  # what takes long comes last
    for step in steps:
        assert problems(program(step.entry), step.values) == {} and step.purpose
    at_work = [a_process(RUNNING, "cnn"), a_process(FINISHED, "seq2seq")]
    monkeypatch.setattr(first_start, "processes", lambda: at_work)
    [everything] = [step for step in steps if step.values == {"task": "all"}]
    first_start.start_first_steps()
    assert (everything.entry, everything.values) in started
    assert "cnn" not in [entry for entry, _ in started]  # it works already: a second click adds nothing
    assert ("seq2seq", {}) in started
    started.clear()
    at_work.append(a_process(RUNNING, "register"))  # "all" is the default, which a process does not keep
    first_start.start_first_steps()
    assert "register" not in [entry for entry, _ in started]


def test_starters_of_the_catalog_are_registered(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_starters(*tasks: str) -> None:
        offers = {
            task: dataclasses.replace(offer, starter=tmp_path if task in tasks else tmp_path / "missing")
            for task, offer in catalog().items()
        }
        monkeypatch.setattr(first_start, "catalog", lambda: offers)

    monkeypatch.setattr(PackageSource, "find", lambda _source: None)
    with_starters("chatbot")
    assert [step.values for step in first_start.first_steps() if step.entry == "register"] == [{"task": "chatbot"}]
    with_starters(*PRETRAINED_TASKS)
    assert [step.values for step in first_start.first_steps() if step.entry == "register"] == [{"task": "all"}]
