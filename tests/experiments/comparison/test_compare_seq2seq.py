"""The entry point `compare` on encoder-decoders."""

import json
from pathlib import Path

import pytest

from experiments import compare
from experiments.comparison import grid as grids
from experiments.comparison.report import CompareResult
from experiments.config import training_config
from tests.support.runs import children, reports, table

SEQ2SEQ = ["--kind", "seq2seq", "--epochs", "1", "--train_size", "128", "--threads", "1", "--register", "no"]


pytestmark = pytest.mark.usefixtures("no_measuring")


@pytest.fixture
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less to decode than a comparison asks for."""
    sizes = {"val_size": 50, "test_size": 60, "probe_size": 20}
    monkeypatch.setattr(grids, "training_config", lambda *cell: training_config(*cell).replace(**sizes))


@pytest.mark.figures
def test_encoder_decoders_are_compared_by_length_and_with_and_without_attention(
    store: Path, few_sequences: None, capsys: pytest.CaptureFixture[str]
) -> None:
    result = compare.main([*SEQ2SEQ, "--models", "gru-none,gru-dot", "--seeds", "2"])
    assert isinstance(result, CompareResult)
    printed = capsys.readouterr().out
    assert "4/4  gru-dot on reversal, seed 1: test sequence accuracy" in printed
    assert not result.failures and len(children(result.run_id)) == 4
    folder = reports(result.run_id)
    board = {row["model"]: row for row in table(folder / "leaderboard.csv")}
    assert set(board) == {"gru-none", "gru-dot"}
    assert board["gru-none"]["alignment"] == "" != board["gru-dot"]["alignment"]
    assert all(row["flops"] == "" and int(row["parameters"]) > 100_000 for row in board.values())
    lengths = table(folder / "reversal_by_length.csv")
    assert {int(row["length"]) for row in lengths if row["model"] == "gru-dot"} == {5, 10, 15, 20, 25, 30, 40, 60, 100}
    assert all(0 <= float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) <= 1 for row in lengths)
    assert "mean test sequence accuracy" in json.loads((folder / "analysis.json").read_text())["reversal"][0]
    assert "<th>100</th>" in (folder / "comparison.html").read_text()  # accuracy by length
    assert len(list((folder.parent / "plots").glob("reversal_*.png"))) == 7
    assert "longest in training" not in (folder / "comparison.html").read_text()  # drawn, in a figure
    assert len(table(folder / "curves.csv")) == 4


def test_encoder_decoders_without_attention_have_a_report_too(store: Path, few_sequences: None) -> None:
    result = compare.main([*SEQ2SEQ, "--models", "gru-none"])
    assert isinstance(result, CompareResult)
    assert not result.failures
    [row] = table(reports(result.run_id) / "leaderboard.csv")
    assert row["model"] == "gru-none" and row["alignment"] == ""
