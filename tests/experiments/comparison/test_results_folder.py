"""What goes into a folder of results, and what of a training is kept while it runs."""

import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from experiments.comparison import duration as durations
from experiments.comparison import folder as folders
from experiments.comparison.folder import ResultsFolder
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.config import CompareConfig, ConfigError
from experiments.tracking.checkpoint import CheckpointError
from experiments.tracking.recorder import LateCheckpoints, Recorder

LENET = Cell("lenet5", "digits", 0)


def test_files_are_packed_by_their_worth_while_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ResultsFolder(tmp_path)
    (tmp_path / "cells").mkdir()
    recorder = folder.recorder(LENET)
    recorder.log_dataset("digits", "scikit-learn", "0")
    sizes = {
        "files/reports/test_predictions.npz": 500,
        "files/plots/loss_curve.png": 300,
        "files/plots/grad_cam.png": 600,
        "files/reports/test_mistakes.npz": 700,
        "model/model.safetensors": 900,
    }
    for name, size in sizes.items():
        (recorder.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (recorder.folder / name).write_bytes(np.random.default_rng(0).bytes(size))
    monkeypatch.setattr(folders, "MOST_BYTES", folders.REPORT_BYTES + 5000)
    folder.pack(LENET, recorder, cells=2)
    with zipfile.ZipFile(tmp_path / "cells" / "lenet5_digits_seed0.zip") as archive:
        assert set(archive.namelist()) == {"record.json", *list(sizes)[:3]}
    assert not recorder.folder.exists()


def test_epochs_are_cut_to_the_time_once_and_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    config = CompareConfig(models="lenet5,resnet20", datasets="digits", threads=1, minutes=0.4)
    monkeypatch.setattr(durations, "seconds_per_example", lambda training: 1e-3)
    begun = ResultsFolder(out).begin(make_grid(config))
    whole = make_grid(config)
    seconds = sum(durations.estimate(begun, begun.cells).values())
    assert seconds <= 24 < sum(durations.estimate(whole, whole.cells).values())
    assert begun.epochs and begun.digest() != whole.digest()
    monkeypatch.setattr(durations, "seconds_per_example", lambda training: 1.0)
    assert ResultsFolder(out).begin(make_grid(config)).epochs == begun.epochs
    assert not capsys.readouterr().out
    assert ResultsFolder(out).begin(make_grid(config.replace(minutes=0))).epochs == begun.epochs
    assert f"the epochs are those that {out} was begun with: minutes=0.4" in capsys.readouterr().out
    shortest = ResultsFolder(tmp_path / "shortest").begin(make_grid(config.replace(minutes=0.2)))
    assert set(shortest.epochs.values()) == {1}
    assert "0.2 minutes are too few for an epoch of each training, which takes about" in capsys.readouterr().out


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    novel = tmp_path / "unfinished" / "novel.txt"
    novel.parent.mkdir()
    novel.write_text("Chapter 1")
    grid = make_grid(CompareConfig(models="lenet5", epochs=1, threads=1))
    with pytest.raises(ConfigError, match="which has other files; valid: a new or empty folder"):
        ResultsFolder(tmp_path).begin(grid)
    assert novel.read_text() == "Chapter 1" and [file.name for file in tmp_path.iterdir()] == ["unfinished"]
    (tmp_path / "unfinished" / "thesis.part").write_text("Chapter 2")
    novel.unlink()
    with pytest.raises(ConfigError, match="which has other files"):
        ResultsFolder(tmp_path).begin(grid)
    # What is left by a worker that was killed before it wrote the grid.
    (tmp_path / "unfinished" / "thesis.part").rename(tmp_path / "unfinished" / f".{32 * 'a'}.part")
    ResultsFolder(tmp_path).begin(grid)
    assert (tmp_path / "grid.json").exists()


def test_a_grid_that_is_refused_does_not_occupy_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "seconds_per_example", lambda training: 1.0)
    long = CompareConfig(models="lenet5", epochs=1000, threads=1)
    with pytest.raises(ConfigError, match=r"1 training would take about .* days; .*confirm=true"):
        ResultsFolder(tmp_path).begin(make_grid(long))
    short = make_grid(long.replace(epochs=1))
    assert ResultsFolder(tmp_path).begin(short).digest() == short.digest()


def test_what_cannot_be_made_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    grid = make_grid(CompareConfig(models="lenet5", epochs=1, threads=1))
    ResultsFolder(tmp_path).begin(grid)
    (tmp_path / "reports").rmdir()
    (tmp_path / "reports").write_text("")
    with pytest.raises(ConfigError, match="and nothing can be written there: File exists"):
        ResultsFolder(tmp_path).begin(grid)


def test_a_worker_that_waits_for_one_that_begins_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, said = ResultsFolder(tmp_path), list[str]()
    (tmp_path / folders.UNFINISHED).mkdir()
    first = FileLock(tmp_path / folders.UNFINISHED / folders.LOCK, thread_local=False)
    first.acquire()
    in_any_case = threading.Timer(20, first.release)  # the test then fails, and does not hang
    in_any_case.start()

    def release(line: str, **_: object) -> None:
        said.append(line)
        first.release()

    monkeypatch.setattr(folders, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(folders, "print", release, raising=False)
    monkeypatch.setattr(durations, "seconds_per_example", lambda training: 1e-6)
    folder.begin(make_grid(CompareConfig(models="lenet5", epochs=1, threads=1)))
    in_any_case.cancel()
    assert said == ["waiting for another worker, which begins this comparison"]
    assert (tmp_path / "grid.json").exists()


def test_checkpoints_wait_in_memory_until_they_are_written(tmp_path: Path) -> None:
    store, weights = LateCheckpoints(tmp_path), torch.zeros(3)
    for epoch in (1, 2, 3):
        weights.fill_(epoch)
        store.save(epoch, {"model": {"weight": weights}}, {"history": list(range(epoch))})
        store.prune({1, epoch})
    assert store.load(1).tensors["model"]["weight"].tolist() == [1, 1, 1] and not store.epochs()
    with pytest.raises(CheckpointError, match="missing"):
        store.load(2)
    store.flush()
    assert LateCheckpoints(tmp_path).epochs() == [1, 3]
    assert LateCheckpoints(tmp_path).load(3).tensors["model"]["weight"].tolist() == [3, 3, 3]


def test_a_record_that_was_cut_off_goes_back_to_its_checkpoint(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        Recorder(tmp_path).log_epoch(epoch, {"val_loss": float(epoch)})
    again = Recorder(tmp_path)
    again.rewind(2)
    again.log_epoch(3, {"val_loss": 0.5})
    assert [metrics["val_loss"] for metrics in Recorder(tmp_path).record.epochs] == [1.0, 2.0, 0.5]
