"""Results of a grid without MLflow, imported: the runs that they become, and what is damaged or of something else."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments import compare
from experiments.comparison import importing
from experiments.comparison.folder import ResultsFolder
from experiments.comparison.kind import Shape
from experiments.comparison.packed import MOST_FILES, PACKED_BYTES, checked
from experiments.comparison.report import CompareResult
from experiments.config import ConfigError, RunUnavailableError
from experiments.tracking.locks import file_lock
from experiments.training import resume
from tests.support.offline_grids import LENET, RESNET, TIMED, TINY, offline, packed
from tests.support.runs import all_runs, artifacts, children, reports

pytestmark = pytest.mark.usefixtures("no_measuring")


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


def test_predictions_of_another_number_than_the_plan_says_are_named(
    store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((results / "grid.json").read_text())
    plan["data"]["digits"][Shape._fields.index("test")] = 3
    (results / "grid.json").write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match="no training in it is finished and whole"):
        compare.main(["--import_results", str(results)])
    said = "lenet5_digits_seed0.zip has no usable predictions: they are 359 and not 3, as grid.json says; left out"
    assert said in capsys.readouterr().err and not all_runs()


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


def test_a_report_on_several_machines_warns_of_their_seconds(store: Path, results: Path) -> None:
    def elsewhere(content: bytes) -> bytes:
        record = json.loads(content)
        return json.dumps({**record, "tags": {**record["tags"], "hardware": "another machine"}}).encode()

    rewrite(results / "cells" / "lenet5_digits_seed0.zip", "record.json", elsewhere)
    result = compare.main(["--import_results", str(results)])
    assert isinstance(result, CompareResult)
    page = (reports(result.run_id) / "comparison.html").read_text()
    assert "another machine" in page and "(do not compare their seconds)" in page


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


@pytest.mark.parametrize("damage", [lambda _content: b"junk", lambda content: content[: len(content) // 2]])
def test_altered_files_are_named_before_anything_of_them_is_logged(
    damage: Callable[[bytes], bytes], store: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [results / "cells" / f"{model}_digits_seed0.zip" for model in ("lenet5", "resnet20")]
    rewrite(files[0], "record.json", lambda content: json.dumps({**json.loads(content), "test": {}}).encode())
    rewrite(files[1], "files/reports/test_predictions.npz", damage)
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
    grid = folder.grid(folder.saved_grid("import_results"))
    assert checked(grid, LENET, file, "") == f"{file} is no file of this program"


@pytest.mark.full
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


def test_behind_a_server_imports_from_two_working_directories_exclude_each_other(
    store: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "store_folder", Path)
    folder = ResultsFolder(results)
    lock = importing._lock(folder, folder.saved_grid("import_results"))
    (tmp_path / "elsewhere").mkdir()
    with file_lock(lock.absolute(), wait=False) as mine:
        monkeypatch.chdir(tmp_path / "elsewhere")
        with pytest.raises(RunUnavailableError, match="is being imported by another process"):
            compare.main(["--import_results", str(results)])
        assert mine and not all_runs()
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a disk that can only be read
    assert importing._lock(folder, folder.saved_grid("import_results")) == Path(lock.name)


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
    grid = folder.grid(folder.saved_grid("out"))
    assert folder.faults(grid) == [f"{results / 'cells' / 'lenet5_digits_seed0.zip'} is of another grid"]
    assert list(folder.finished(grid)) == [RESNET]
