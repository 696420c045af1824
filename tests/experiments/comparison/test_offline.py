"""`compare` without MLflow: the folder of results, its resumption and limits, and what an import makes of it."""

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from experiments import compare
from experiments.cnn.setup import CnnTraining
from experiments.comparison import folder as folders
from experiments.comparison import grid as grids
from experiments.comparison.folder import Packed, ResultsFolder
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.packed import MOST_FILES, PACKED_BYTES, checked
from experiments.comparison.report import CompareResult
from experiments.config import CompareConfig, ConfigError, RunUnavailableError
from experiments.training import resume
from experiments.training import run as training
from tests.conftest import PROJECT_ROOT
from tests.support.runs import all_runs, artifacts, children, reports, table

TINY = ["--models", "lenet5,resnet20", "--epochs", "2", "--train_size", "200", "--threads", "1"]
TIMED = {"epoch_seconds", "examples_per_second"}
LENET, RESNET = Cell("lenet5", "digits", 0), Cell("resnet20", "digits", 0)


def offline(out: Path, *arguments: str) -> CompareResult:
    """What `compare --tracking none` reports."""
    result = compare.main([*TINY, "--tracking", "none", "--out", str(out), *arguments])
    assert isinstance(result, CompareResult)
    return result


def packed(out: Path) -> dict[Cell, Packed]:
    folder = ResultsFolder(out)
    return folder.finished(folder.grid(folder.plan("out")))


@pytest.fixture(autouse=True)
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "seconds_per_example", lambda _: 1e-4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a whole grid; not to be changed."""
    out = tmp_path_factory.mktemp("offline") / "results"
    assert not offline(out).failures
    return out


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "results")


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


def test_an_import_makes_the_runs_that_compare_would_have_made(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = compare.main(TINY)
    imported = compare.main(["--import_results", str(results)])
    assert isinstance(live, CompareResult) and isinstance(imported, CompareResult)
    assert [one.analysis for one in imported.findings] == [one.analysis for one in live.findings]
    client = MlflowClient()
    mine, theirs = ({run.data.tags["model"]: run for run in children(result.run_id)} for result in (live, imported))
    for model, run in theirs.items():
        same = mine[model]
        assert run.data.params == same.data.params and run.data.tags.keys() == same.data.tags.keys()
        assert run.info.run_name == same.info.run_name and run.info.status == same.info.status == "FINISHED"
        logged = {key for key in same.data.metrics if not key.startswith("system/")}
        assert run.data.metrics.keys() == logged
        for key in logged - TIMED:
            values = [[(m.step, m.value) for m in client.get_metric_history(r.info.run_id, key)] for r in (run, same)]
            assert values[0] == values[1], key
        files = [
            {
                str(path.relative_to(artifacts(r)))
                for path in artifacts(r).rglob("*.*")
                if "checkpoints" not in str(path)
            }
            for r in (run, same)
        ]
        assert files[0] - files[1] == {"reports/environment.json"} and not files[1] - files[0]
    record = packed(results)[RESNET].record
    losses = client.get_metric_history(theirs["resnet20"].info.run_id, "val_loss")
    assert [metric.timestamp for metric in losses] == record.moments
    assert (theirs["resnet20"].info.start_time, theirs["resnet20"].info.end_time) == (record.started, record.ended)
    versions = client.search_model_versions("name = 'cnn-digits'")
    assert {version.run_id for version in versions} == {run.info.run_id for run in (*mine.values(), *theirs.values())}
    parent = client.get_run(imported.run_id)
    assert parent.data.tags["grid"] == client.get_run(live.run_id).data.tags["grid"]
    assert {path.name for path in reports(live.run_id).iterdir()} == {
        p.name for p in reports(imported.run_id).iterdir()
    }

    before = {run.info.run_id: run.info.end_time for run in all_runs()}
    capsys.readouterr()
    assert compare.main(["--import_results", str(results)]) is None
    assert "nothing to import" in capsys.readouterr().out
    assert {run.info.run_id: run.info.end_time for run in all_runs()} == before


def test_damaged_and_foreign_files_are_named_and_the_rest_is_imported(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = results / "cells" / "lenet5_digits_seed0.zip"
    whole = half.read_bytes()
    half.write_bytes(whole[:-200])
    (results / "cells" / "notes.txt").write_text("mine")
    first = compare.main(["--import_results", str(results)])
    said = capsys.readouterr().err
    assert f"{half} is damaged or half there; left out" in said and "notes.txt is no training of this grid" in said
    assert isinstance(first, CompareResult) and list(first.failures) == [LENET]
    assert MlflowClient().get_run(first.run_id).data.tags["cells_failed"] == "1"
    half.write_bytes(whole)
    with resume.claim(first.run_id), pytest.raises(RunUnavailableError, match="is being trained by another process"):
        compare.main(["--import_results", str(results)])
    second = compare.main(["--import_results", str(results)])
    assert isinstance(second, CompareResult) and second.run_id == first.run_id and not second.failures
    assert len(children(first.run_id)) == 2


def test_results_of_other_data_or_of_another_cell_are_said(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = results / "cells"
    shutil.copy(cells / "lenet5_digits_seed0.zip", cells / "resnet20_digits_seed0.zip")
    MlflowClient().create_run("0", tags={"dataset": "digits", "data_sha256": "f" * 64})
    compare.main(["--import_results", str(results)])
    said = capsys.readouterr().err
    assert "resnet20_digits_seed0.zip is of another training: lenet5 on digits, seed 0" in said
    assert "runs here of one with ffffffffffff...: do not compare them" in said
    plan = json.loads((results / "grid.json").read_text())
    plan["data"]["digits"][3] = "0" * 64
    (results / "grid.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match="no training in it is finished and whole"):
        compare.main(["--import_results", str(results)])
    assert "lenet5_digits_seed0.zip was trained on other data: SHA-256" in capsys.readouterr().err


def test_an_unreadable_block_is_damage_and_trainings_of_fewer_epochs_are_of_another_grid(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plan = results / "cells" / "lenet5_digits_seed0.zip", json.loads((results / "grid.json").read_text())
    content, start = bytearray(file.read_bytes()), 30 + len("record.json")  # of its compressed bytes
    content[start : start + 4] = b"\xff" * 4
    file.write_bytes(content)
    cut = {f"{model}_digits_seed0": 2 for model in ("lenet5", "resnet20")}
    (results / "grid.json").write_text(json.dumps({**plan, "epochs": cut}))
    result = compare.main(["--import_results", str(results)])
    assert f"{file} is damaged or half there; left out" in capsys.readouterr().err
    assert isinstance(result, CompareResult) and list(result.failures) == [LENET]
    assert MlflowClient().get_run(result.run_id).data.tags["grid"] == f"{plan['digest']}, cut to 0 minutes"


def test_altered_files_are_named_before_anything_of_them_is_logged(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [results / "cells" / f"{model}_digits_seed0.zip" for model in ("lenet5", "resnet20")]
    rewrite(files[0], "record.json", lambda content: json.dumps({**json.loads(content), "test": {}}).encode())
    rewrite(files[1], "files/reports/test_predictions.npz", lambda _content: b"junk")
    with pytest.raises(ConfigError, match="no training in it is finished and whole"):
        compare.main(["--import_results", str(results)])
    said = capsys.readouterr().err
    assert f"{files[0]} is damaged or half there; left out" in said
    assert f"{files[1]} has no usable predictions: " in said and not MlflowClient().search_experiments(
        filter_string="name = 'compare'"
    )


def test_a_damaged_model_and_a_file_of_very_many_parts_are_named_before_anything_is_logged(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lenet, resnet = (results / "cells" / f"{model}_digits_seed0.zip" for model in ("lenet5", "resnet20"))
    rewrite(lenet, "model/model.safetensors", lambda content: content[: len(content) // 2])
    with zipfile.ZipFile(resnet, "a") as archive:
        for number in range(MOST_FILES):
            archive.writestr(f"files/{number}", b"")
    with pytest.raises(ConfigError, match="no training in it is finished and whole"):
        compare.main(["--import_results", str(results)])
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith(f"warning: {lenet} has a damaged model: model")]
    assert f"warning: {resnet} is no file of this program; left out" in said and not all_runs()


def test_a_large_file_is_refused_before_its_contents_are_listed(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = results / "cells" / "lenet5_digits_seed0.zip"
    with file.open("ab") as content:
        content.truncate(PACKED_BYTES + 1)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was opened"))
    folder = ResultsFolder(results)
    grid = folder.grid(folder.plan("import_results"))
    assert checked(grid, LENET, file, "") == f"{file} is no file of this program"


def test_a_folder_that_another_process_imports_is_left_alone(store: Path, results: Path) -> None:
    program = (
        "import sys\nfrom experiments import compare\nfrom experiments.comparison import importing\n"
        "def wait(*_): print('claimed', flush=True); sys.stdin.readline(); sys.exit()\n"
        "importing._import_folder = wait\ncompare.main(['--import_results', sys.argv[1]])"
    )
    command = [sys.executable, "-c", program, str(results)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "claimed\n"
        with pytest.raises(RunUnavailableError, match="is being imported by another process; wait for it"):
            compare.main(["--import_results", str(results)])
        other.communicate("\n")
    assert not all_runs()
    assert isinstance(compare.main(["--import_results", str(results)]), CompareResult)


def rewrite(file: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change one part of a packed training, so that all checksums are right."""
    with zipfile.ZipFile(file) as archive:
        comment, parts = archive.comment, {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for one, content in parts.items():
            archive.writestr(one, change(content) if one == name else content)


def test_a_plan_without_its_data_is_damaged(results: Path) -> None:
    plan = json.loads((results / "grid.json").read_text())
    (results / "grid.json").write_text(json.dumps({**plan, "data": {}}))
    with pytest.raises(ConfigError, match=r"grid\.json is damaged or of another version: 'digits'"):
        compare.main(["--import_results", str(results)])


def test_a_training_of_another_grid_is_not_taken_for_one_of_this(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    offline(other, "--models", "lenet5", "--epochs", "1")
    shutil.copy(other / "cells" / "lenet5_digits_seed0.zip", results / "cells")
    folder = ResultsFolder(results)
    grid = folder.grid(folder.plan("out"))
    assert folder.faults(grid) == [f"{results / 'cells' / 'lenet5_digits_seed0.zip'} is of another grid"]
    assert list(folder.finished(grid)) == [RESNET]


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
    capsys.readouterr()
    assert not offline(out).failures
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
