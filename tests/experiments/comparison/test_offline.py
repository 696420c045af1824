"""`compare` without MLflow: the folder of results, its resumption and its limits."""

import errno
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import compare
from experiments.cnn.setup import CnnTraining
from experiments.comparison import folder as folders
from experiments.comparison.folder import ResultsFolder
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Shape
from experiments.comparison.offline import OfflineRunner
from experiments.comparison.report import PAGE
from experiments.config import CompareConfig, ConfigError, TrainingError
from experiments.tracking import checkpoint
from experiments.tracking.checkpoint import CheckpointError
from experiments.tracking.recorder import LateCheckpoints, Recorder
from experiments.training import run as training
from tests.conftest import PROJECT_ROOT
from tests.support.offline_grids import LENET, RESNET, TIMED, TINY, offline, packed
from tests.support.runs import all_runs, table

pytestmark = pytest.mark.usefixtures("no_measuring")


def test_the_folder_has_tables_curves_times_and_predictions(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {"grid.json", "cells", "reports"}
    assert {row["model"] for row in table(finished / "reports" / "leaderboard.csv")} == {"lenet5", "resnet20"}
    curves = table(finished / "reports" / "curves.csv")
    assert len(curves) == 4 and all(float(row["epoch_seconds"]) > 0 for row in curves)
    assert len(table(finished / "reports" / "mcnemar.csv")) == 1
    one = packed(finished)[LENET]
    assert one.record.environment["torch"] and one.record.environment["precision"] == "fp32" and one.record.seconds > 0
    assert one.record.started <= one.record.moments[0] <= one.record.moments[1] <= one.record.ended
    with one.left_behind().file("reports/test_predictions.npz") as path, np.load(path) as saved:
        right = (saved["probabilities"].argmax(axis=1) == saved["labels"]).mean()
    assert right == pytest.approx(one.record.test["test_accuracy"])


def test_the_warnings_of_a_data_set_are_given_once(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CnnTraining, "warnings", ["digits are odd"])
    for more in ([], ["--tracking", "none", "--out", "out"]):
        compare.main(["--models", "lenet5", *TINY[2:], "--epochs", "1", "--seeds", "2", *more])
        assert capfd.readouterr().err.count("warning: digits are odd") == 1


def test_a_grid_that_is_stopped_before_anything_is_finished_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        offline(tmp_path / "out")
    assert stopped.value.__notes__ == [f"{tmp_path / 'out'} has no finished training yet; the same command resumes"]


def test_ctrl_c_stops_all_trainings_also_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    def full(_: LateCheckpoints) -> None:
        raise CheckpointError("no space left")

    monkeypatch.setattr(training, "save_checkpoint", stop)
    monkeypatch.setattr(LateCheckpoints, "flush", full)
    with pytest.raises(KeyboardInterrupt) as stopped:
        offline(tmp_path / "out")
    assert stopped.value.__notes__[0] == "no space left"


def test_a_disk_that_is_full_when_the_model_is_delivered_is_not_taken_for_one_without_room_for_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(given[1]))

    monkeypatch.setattr(Recorder, "log_files", full)
    monkeypatch.setattr(checkpoint, "_write_synced", full)
    with pytest.raises(TrainingError, match=r"the first: no space left on the disk \(.*artifacts\)"):
        offline(tmp_path / "out", "--models", "lenet5")


@pytest.mark.parametrize("edited", [{"epochs": {"vgg11_digits_seed0": 3}}, {"data": {}}])
def test_an_edited_plan_is_named(results: Path, edited: dict[str, Any]) -> None:
    plan = json.loads((results / "grid.json").read_text())
    (results / "grid.json").write_text(json.dumps({**plan, **edited}))
    with pytest.raises(ConfigError, match=r"grid\.json is damaged or of another version: '.*digits"):
        offline(results)


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ({"config": {"models": "lenet5,lenet5"}}, "it names a training twice"),
        ({"config": {"datasets": "digits,digits"}}, "it names a training twice"),
        ({"config": {"kind": "task"}}, ".*task"),
        ({"config": {"kind": "seq2seq"}}, ""),
        ({"data": {"digits": {"size": 7}}}, "digits cannot have the sizes that it says"),
        ({"data": {"digits": {"channels": 0}}}, "digits cannot have the sizes that it says"),
        ({"data": {"digits": {"classes": []}}}, "digits cannot have the sizes that it says"),
        ({"data": {"digits": {"test": -1}}}, "digits cannot have the sizes that it says"),
    ],
)
def test_a_plan_that_this_program_cannot_have_written_is_not_imported(
    results: Path, store: Path, edited: dict[str, Any], expected: str
) -> None:
    plan = json.loads((results / "grid.json").read_text())
    shape = dict(zip(Shape._fields, plan["data"]["digits"], strict=True))
    shape |= edited.get("data", {}).get("digits", {})
    plan["data"]["digits"] = list(shape.values())
    plan["config"] |= edited.get("config", {})
    (results / "grid.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=rf"grid\.json is damaged or of another version: {expected}"):
        compare.main(["--import_results", str(results)])
    assert not all_runs()


def test_an_interrupted_grid_has_what_is_finished_and_is_resumed(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, honest, saved = tmp_path / "out", training.save_checkpoint, []

    def save(prepared: Any, tracker: Any, epoch: int) -> None:
        honest(prepared, tracker, epoch)
        saved.append((prepared.config.model, epoch))
        if saved[-1] == ("resnet20", 1) and len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_checkpoint", save)
    with pytest.raises(KeyboardInterrupt) as stopped:
        offline(out)
    assert stopped.value.__notes__ == [f"{out} has what is finished; the same command resumes"]
    assert [row["model"] for row in table(out / "reports" / "leaderboard.csv")] == ["lenet5"]
    assert f"1 of 2 trainings: {RESNET}" in (page := out / PAGE).read_text()
    capsys.readouterr()
    assert not offline(out).failures
    assert "of 2 trainings" not in page.read_text()
    assert f"{RESNET}: resuming after epoch 1\n" in capsys.readouterr().out
    assert saved == [("lenet5", 1), ("lenet5", 2), ("resnet20", 1), ("resnet20", 2)]
    assert not (out / "unfinished").exists()
    resumed, whole = (packed(folder)[RESNET].record for folder in (out, finished))
    for one, other in zip(resumed.epochs, whole.epochs, strict=True):
        assert {k: v for k, v in one.items() if k not in TIMED} == {k: v for k, v in other.items() if k not in TIMED}
    assert resumed.test == whole.test


def test_a_second_process_leaves_alone_what_the_first_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [*TINY, "--tracking", "none", "--out", str(out)]
    folder = ResultsFolder(out)
    folder.begin(make_grid(CompareConfig(models="lenet5,resnet20", epochs=2, train_size=200, threads=1)))
    with folder.claimed(RESNET) as mine:
        assert mine and compare.main(arguments) is None
    assert f"another worker trains {RESNET}" in capsys.readouterr().out and list(packed(out)) == [LENET]


def test_a_worker_that_writes_no_report_fails_if_its_trainings_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    folder = ResultsFolder(out)
    folder.begin(make_grid(CompareConfig(models="lenet5,resnet20", epochs=2, train_size=200, threads=1)))
    monkeypatch.setattr(OfflineRunner, "run", lambda *_: (_ for _ in ()).throw(MemoryError("too large")))
    with folder.claimed(RESNET), pytest.raises(TrainingError, match=r"1 failed here \(see above\)"):
        compare.main([*TINY, "--tracking", "none", "--out", str(out)])
    assert f"{LENET}: FAILED: too large" in capsys.readouterr().out


def test_another_worker_trains_what_one_that_died_left_even_without_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out, honest, dying = tmp_path / "out", training.save_checkpoint, ExitStack()
    folder = ResultsFolder(out)
    folder.begin(make_grid(CompareConfig(models="lenet5,resnet20", epochs=2, train_size=200, threads=1)))
    assert dying.enter_context(folder.claimed(LENET))
    folder.recorder(LENET).checkpoints.path(1).mkdir(parents=True)  # a checkpoint without its files
    monkeypatch.setattr(training, "save_checkpoint", lambda *given: (dying.close(), honest(*given)))
    assert not offline(out).failures and set(packed(out)) == {LENET, RESNET}
    assert f"{LENET} begins again: no checkpoint in" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tracking", "none"], "out is 'none'; valid with tracking=none: a folder"),
        (["--tracking", "none", "--out", ""], "out is ''; valid with tracking=none: a folder"),
        (["--out", "here"], "out is 'here', which has no meaning for tracking=mlflow; valid: none, or leave it out"),
        (["--minutes", "5"], "minutes is 5.0, which has no meaning for tracking=mlflow"),
        (
            ["--tracking", "none", "--out", "x", "--resume", "0123"],
            "resume is '0123', which has no meaning for tracking=",
        ),
        (["--tracking", "none", "--out", "file"], "out is 'file', which is no folder"),
        (["--tracking", "none", "--out", "file/under"], "out is 'file/under', and nothing can be written there"),
        (["--tracking", "none", "--out", "strange"], "strange/grid.json is damaged or of another program"),
        (["--tracking", "none", "--out", "results"], "has results of another grid: models is 'lenet5' and was"),
        (["--tracking", "none", "--out", "many", "--seeds", "1000"], r"1000 trainings take 14 MiB; .*: 12 MiB"),
        (["--import_results", "nowhere"], "there is no nowhere/grid.json; valid: a folder that compare"),
        (
            ["--import_results", "results", "--models", "lenet5"],
            "models is 'lenet5', which has no meaning for import_res",
        ),
        (["--import_results", "strange"], "strange/grid.json is damaged or of another program"),
        (
            ["--import_results", "results", "--tracking", "none", "--out", "x"],
            "import_results is 'results', which has no",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    arguments: list[str], expected: str, store: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert results.parent == store
    Path("file").write_text("")
    Path("strange").mkdir()
    Path("strange/grid.json").write_text('{"id": 1}')
    with pytest.raises(ConfigError, match=expected):
        compare.main(arguments if arguments[0] == "--import_results" else ["--models", "lenet5", *TINY[2:], *arguments])
    assert not all_runs()


@pytest.mark.full
def test_the_full_size_networks_are_trained_within_a_time_limit(tmp_path: Path) -> None:
    arguments = ["RESULTS=" + str(tmp_path / "out"), "PARTS=digits", "PRECISION=fp32", f"GPU_PYTHON={sys.executable}"]
    command = ["make", "gpu-results", *arguments, "ARGS=--epochs 1 --train_size 128"]
    stopped = subprocess.Popen([*command, "MINUTES=30"], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    assert stopped.stdout is not None
    while "1/6" not in (line := stopped.stdout.readline()):
        assert line, "it ended before its first training"
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(timeout=120) != 0
    assert (tmp_path / "out" / "digits" / "reports" / "comparison.html").exists()
    assert subprocess.run([*command, "MINUTES=30"], cwd=PROJECT_ROOT).returncode == 0
    assert len(packed(tmp_path / "out" / "digits")) == 6
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert size <= folders.MOST_BYTES
    # A report of before is none of a run that could not even begin.
    assert subprocess.run([*command, "MINUTES=30", "GPU_PYTHON=false"], cwd=PROJECT_ROOT).returncode != 0
