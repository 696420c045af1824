"""The entry point `compare` on a tiny grid: what it leaves behind, what it survives, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from experiments import compare
from experiments.comparison import duration as durations
from experiments.comparison import run, runner
from experiments.comparison.grid import make_grid
from experiments.comparison.kind import Cell
from experiments.comparison.report import CompareResult
from experiments.config import CompareConfig, ConfigError, TrainingError, UserError, cli
from experiments.data.sources import DataError
from experiments.tracking import store as runs
from experiments.training import run as training
from tasks.runs import StoreUnreachableError
from tests.support.runs import all_runs, artifacts, children, reports, table

TINY = ["--models", "lenet5,resnet20", "--epochs", "1", "--train_size", "200", "--threads", "1", "--register", "no"]
LENET = ["--models", "lenet5", *TINY[2:]]
GRU = ["--kind", "seq2seq", "--models", "gru-none"]
FAILED, FINISHED = "FAILED", "FINISHED"


def compared(arguments: list[str]) -> CompareResult:
    """What `compare` reports."""
    result = compare.main(arguments)
    assert isinstance(result, CompareResult)
    return result


def partly(arguments: list[str]) -> CompareResult:
    """What `compare` reports before it fails because trainings did."""
    result = run.compare(cli.parse(CompareConfig, arguments)[0])
    assert result is not None and result.failures
    return result


pytestmark = pytest.mark.usefixtures("no_measuring")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, model: str = "resnet20") -> None:
    """Have every training of one model raise after its first checkpoint."""
    honest = training.save_checkpoint

    def save(prepared: Any, tracker: Any, epoch: int) -> None:
        honest(prepared, tracker, epoch)
        if prepared.config.model == model:
            raise error

    monkeypatch.setattr(training, "save_checkpoint", save)


@pytest.mark.figures
def test_a_grid_leaves_behind_its_runs_and_a_report(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = compared([*TINY, "--seeds", "2"])
    printed = capsys.readouterr().out
    assert "about" in printed and "4/4  resnet20 on digits, seed 1: test accuracy" in printed
    assert "epoch 1/1" not in printed  # one display: that of the grid
    assert "test data; = is not distinguishable" in printed and result.page_uri in printed

    parent = MlflowClient().get_run(result.run_id)
    assert parent.info.status == FINISHED and parent.info.run_name == "compare 2 models on digits, 2 seeds"
    assert len(parent.data.tags["grid"]) == 64 and parent.data.tags["cells_failed"] == "0"
    assert "highest mean test accuracy" in parent.data.tags["mlflow.note.content"]
    nested = children(result.run_id)
    assert sorted((run.data.tags["model"], run.data.params["seed"]) for run in nested) == [
        ("lenet5", "0"),
        ("lenet5", "1"),
        ("resnet20", "0"),
        ("resnet20", "1"),
    ]
    assert {run.info.experiment_id for run in nested} == {parent.info.experiment_id}

    folder = reports(result.run_id)
    board = table(folder / "leaderboard.csv")
    assert {row["model"] for row in board} == {"lenet5", "resnet20"} and board[0]["seeds"] == "0 1"
    cells = table(folder / "cells.csv")
    by_run = {run.info.run_id: run.data.metrics for run in nested}
    assert all(float(c["accuracy"]) == pytest.approx(by_run[c["run_id"]]["test_accuracy"], abs=1e-5) for c in cells)
    assert {(c["epochs"], c["examples"], c["dtype"], c["threads"]) for c in cells} == {("1", "200", "fp32", "1")}
    assert {c["hardware"] for c in cells} == {run.data.tags["hardware"] for run in nested}
    assert len(table(folder / "mcnemar.csv")) == 2 and len(table(folder / "curves.csv")) == 4
    figures = {path.name for path in (folder.parent / "plots").iterdir()}
    assert figures == {f"digits_{kind}.png" for kind in ("loss", "accuracy", "metrics", "confusion", "cost")}
    html = Path(result.page_uri).read_text()
    assert html.count("data:image/png;base64,") == 5 and "seresnet" not in html and "images seen" in html


def test_a_failing_cell_does_not_stop_the_rest_and_is_resumed(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, RuntimeError("out of memory"), model="lenet5")
        first = partly(TINY)
    assert "1/2  lenet5 on digits, seed 0: FAILED: out of memory" in capsys.readouterr().out
    assert first.failures == {Cell("lenet5", "digits", 0): "out of memory"}
    assert "out of memory" in Path(first.page_uri).read_text()
    assert sorted(run.info.status for run in children(first.run_id)) == [FAILED, FINISHED]
    assert MlflowClient().get_run(first.run_id).data.tags["cells_failed"] == "1"

    second = compared(TINY)
    assert second.run_id == first.run_id and not second.failures
    assert [run.info.status for run in children(first.run_id)] == [FINISHED, FINISHED]
    assert "out of memory" not in Path(second.page_uri).read_text()


def test_the_program_fails_after_its_report_if_a_training_did(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, RuntimeError("out of memory"), model="lenet5")
    with pytest.raises(TrainingError, match=r"1 failed \(see above\); the same command tries again"):
        compare.main(TINY)
    said = capsys.readouterr().out
    assert "FAILED lenet5 on digits, seed 0: out of memory" in said and "\nreport: " in said
    (parent,) = [one for one in all_runs() if "grid" in one.data.tags]
    assert parent.info.status == FINISHED and parent.data.tags["cells_failed"] == "1"


def test_the_report_says_why_a_cell_of_another_worker_failed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OthersRunner(run.TrackedRunner):
        """What fails is not known to this process."""

        def train(self, name: str) -> bool:
            succeeded = super().train(name)
            self.failures.clear()
            return succeeded

    monkeypatch.setattr(run, "TrackedRunner", OthersRunner)
    failing(monkeypatch, RuntimeError("out of memory"), model="lenet5")
    result = partly(TINY)
    assert list(result.failures) == [Cell("lenet5", "digits", 0)]
    assert "out of memory" in result.failures[Cell("lenet5", "digits", 0)]


def test_an_interrupted_grid_started_again_trains_only_what_is_missing(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            compare.main([*TINY, "--epochs", "2"])
    (parent,) = (run for run in all_runs() if "grid" in run.data.tags)
    before = {run.data.tags["model"]: run for run in children(parent.info.run_id)}
    assert (before["lenet5"].info.status, before["resnet20"].info.status) == (FINISHED, "KILLED")

    trained: list[Any] = []
    honest = training.train
    monkeypatch.setattr(training, "train", lambda *given: trained.append(given[1]) or honest(*given))
    result = compared(["--models", "resnet20,lenet5", *TINY[2:], "--epochs", "2"])  # the order means nothing
    assert result.run_id == parent.info.run_id
    assert [config.resume for config in trained] == [before["resnet20"].info.run_id]
    after = {run.data.tags["model"]: run for run in children(result.run_id)}
    assert {run.info.run_id for run in after.values()} == {run.info.run_id for run in before.values()}
    assert {run.info.status for run in after.values()} == {FINISHED}
    assert MlflowClient().get_run(result.run_id).info.status == FINISHED
    assert "resuming the unfinished comparison" in capsys.readouterr().out
    assert len(json.loads((reports(result.run_id) / "analysis.json").read_text())["digits"]) > 1


def test_a_cut_off_cell_without_a_usable_checkpoint_begins_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt(), model="lenet5")
        with pytest.raises(KeyboardInterrupt):
            compare.main(LENET)
    (parent,) = (run for run in all_runs() if "grid" in run.data.tags)
    (cut_off,) = children(parent.info.run_id)
    for manifest in Path(cut_off.info.artifact_uri or "").glob("checkpoints/*/manifest.json"):
        manifest.write_text("{}")
    # Killed between being made and saying what it was.
    nameless = MlflowClient().create_run(parent.info.experiment_id, tags={"mlflow.parentRunId": parent.info.run_id})
    result = compared([*LENET, "--resume", parent.info.run_id])
    statuses = {run.info.run_id: run.info.status for run in children(result.run_id)}
    assert statuses.pop(nameless.info.run_id) == FAILED
    assert result.run_id == parent.info.run_id and not result.failures
    assert statuses.pop(cut_off.info.run_id) == FAILED and list(statuses.values()) == [FINISHED]


def test_a_cell_that_ended_while_the_server_was_away_is_not_trained_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnreachableError("http://127.0.0.1:1 does not answer")

    with monkeypatch.context() as patch:
        honest = training.finish
        patch.setattr(training, "finish", lambda *given: (away if given[1].config.seed == 1 else honest)(*given))
        first = partly([*LENET, "--seeds", "2"])
    assert first.failures == {Cell("lenet5", "digits", 1): "http://127.0.0.1:1 does not answer"}
    before = {run.info.run_id for run in all_runs()}
    monkeypatch.setattr(training, "save_checkpoint", lambda *_: pytest.fail("an epoch was trained again"))
    last = compared([*LENET, "--seeds", "2"])
    assert last.run_id == first.run_id and not last.failures and {run.info.run_id for run in all_runs()} == before
    assert {run.info.status for run in children(first.run_id)} == {FINISHED}


def test_a_training_of_a_comparison_waits_for_the_server_new_or_resumed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    honest = training.train
    monkeypatch.setattr(training, "train", lambda *given: waits.append(runs.patience()) or honest(*given))
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt(), model="lenet5")
        with pytest.raises(KeyboardInterrupt):
            compare.main([*LENET, "--epochs", "2"])
    compare.main([*LENET, "--epochs", "2"])
    assert waits == [runs.LONG_S, runs.LONG_S] and runs.patience() == 0


def test_when_all_cells_fail_the_parent_is_failed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("broken"), model="lenet5")
    with pytest.raises(TrainingError, match=r"every training failed \(1\); the first: broken"):
        compare.main(LENET)
    assert {run.info.status for run in all_runs()} == {FAILED}


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["--models", "lenet5,resnet21"], ConfigError, "models names 'resnet21'; did you mean 'resnet20'"),
        (["--models", " , "], ConfigError, "which names nothing; valid"),
        (["--datasets", "digits,minst"], ConfigError, "datasets names 'minst'; did you mean 'mnist'"),
        (["--seeds", "0"], ConfigError, "seeds is 0; valid: a whole number from 1 to 1000"),
        (["--kind", "images"], ConfigError, "kind is 'images'; valid: cnn"),
        (["--train_size", "5000"], ConfigError, "train_size is 5000; valid for this data set"),
        (["--train_size", "50"], ConfigError, "train_size is 50; valid: at least 128, the batch size of lenet5"),
        (["--device", "mps"], ConfigError, "device is 'mps'"),
        (["--datasets", "mnist", "--data_dir", "here"], DataError, "here/MNIST/raw/"),
        (["--resume", "0123"], ConfigError, "resume is '0123', and there is no such run in .*; valid: the id of a run"),
        (["--image_size", "64"], ConfigError, "image_size is 64; valid: 32 for digits; other sizes are for your own"),
        (["--kind", "seq2seq", "--models", "gru-dott"], ConfigError, "models names 'gru-dott'; did you mean 'gru-dot'"),
        (["--kind", "seq2seq"], ConfigError, "models names 'lenet5'; .*valid: attention, transformer, gru-none"),
        (
            [*GRU, "--weights", "pretrained"],
            ConfigError,
            "weights is 'pretrained', which has no meaning for kind=seq2seq",
        ),
        ([*GRU, "--image_size", "64"], ConfigError, "image_size is 64, .*kind=seq2seq, where .*valid: 32, or leave it"),
        ([*GRU, "--data_dir", "here"], ConfigError, "data_dir is 'here', which has no meaning for kind=seq2seq"),
        ([*GRU, "--datasets", "mnist"], ConfigError, "datasets names 'mnist'; valid: reversal"),
        ([*GRU, "--train_size", "10"], ConfigError, "train_size is 10; valid: at least 64, the batch size of gru-none"),
        (["--seeds", "1000", "--epochs", "1000"], ConfigError, r"1000 trainings would take about .* days; .*confirm"),
    ],
)
def test_what_cannot_work_is_refused_before_any_run_is_made(
    arguments: list[str], error: type[UserError], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(error, match=expected):
        compare.main(["--models", "lenet5", "--threads", "1", *arguments])
    assert not all_runs()


def test_what_takes_long_is_trained_with_confirm(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = make_grid(CompareConfig(models="lenet5", seeds=1000, epochs=1000, confirm=True, threads=1))
    assert runner.announced(grid, list(grid.cells)).left > durations.LONGEST_UNCONFIRMED
    assert "1000 trainings, about" in capsys.readouterr().out


def test_a_parent_of_another_grid_or_of_none_or_finished_is_refused(store: Path) -> None:
    parent = compared(LENET).run_id
    with pytest.raises(
        ConfigError, match="of another grid: models is 'resnet20' and was 'lenet5'; seeds is 2 and was 1"
    ):
        compare.main(["--models", "resnet20", *LENET[2:], "--seeds", "2", "--resume", parent])
    with pytest.raises(ConfigError, match="is FINISHED"):
        compare.main([*LENET, "--resume", parent])
    (child,) = children(parent)
    with pytest.raises(ConfigError, match="that run is not a comparison"):
        compare.main([*LENET, "--resume", child.info.run_id])
    for content in ("[" * 100_000, "[3]", "null"):
        (artifacts(MlflowClient().get_run(parent)) / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=r"that run has no config\.json of this program"):
            compare.main(["--models", "resnet20", *LENET[2:], "--resume", parent])
    assert len(all_runs()) == 2
    empty = MlflowClient().create_run("0", tags={"entry_point": "compare"}).info.run_id
    with pytest.raises(ConfigError, match="cut off before it had begun"):
        compare.main([*LENET, "--resume", empty])
    assert MlflowClient().get_run(empty).info.status == "KILLED"


def test_a_comparison_that_another_process_works_on_is_left_alone(store: Path) -> None:
    from experiments.training.resume import claim

    grid = make_grid(CompareConfig(models="lenet5", epochs=1, train_size=200, threads=1))
    run = MlflowClient().create_run("0", tags={"grid": grid.digest()})
    with claim(run.info.run_id):
        with pytest.raises(ConfigError, match="by another process"):
            compare.main([*LENET, "--resume", run.info.run_id])
        with pytest.raises(ConfigError, match="by another process"):
            compare.main(LENET)
    assert len(all_runs()) == 1
