"""The entry point `seq2seq`: what a run leaves behind, that it learns, that it can be resumed."""

import json
import math
import signal
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from experiments import train_seq2seq
from experiments.config import SEQ2SEQ_MODELS, ConfigError, UserError
from experiments.seq2seq import report, setup
from tests.support.killing import train_and_die
from tests.support.runs import all_runs, artifacts, assert_same_weights, histories, only_run, uninterrupted, weights

SMALL = [
    "--vocab_size", "6", "--max_length", "4", "--hidden_size", "16", "--train_size", "200", "--val_size", "30",
    "--test_size", "40", "--probe_size", "10", "--batch_size", "50", "--threads", "1", "--stop_at", "0",
]  # fmt: skip
TINY = [*SMALL, "--epochs", "2"]


@pytest.mark.figures
def test_a_run_leaves_behind_what_the_contract_names(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = train_seq2seq.main(TINY)
    assert result is not None
    printed = capsys.readouterr().out
    assert "gru-dot" in printed and "val_sequence_accuracy" in printed and "sequence accuracy" in printed
    run = only_run()
    assert run.info.status == "FINISHED"
    assert {name: run.data.tags[name] for name in ("model", "dataset", "task", "data_verified")} == {
        "model": "gru-dot",
        "dataset": "reversal",
        "task": "sequence-reversal",
        "data_verified": "true",
    }
    logged = histories(run.info.run_id)
    measured = ("loss", "accuracy", "token_accuracy", "sequence_accuracy", "alignment")
    for name in ("train_loss", "train_accuracy", "learning_rate", *(f"val_{name}" for name in measured)):
        assert [step for step, _ in logged[name]] == [1, 2]
    tested = {name for name in logged if name.startswith("test_")}
    lengths = {f"test_sequence_accuracy_len_{n}" for n in (2, 3, 4, 5, 6, 8, 12, 20)}
    assert tested == {f"test_{name}" for name in measured} | lengths
    files = artifacts(run)
    for name in (
        "loss_curve",
        "accuracy_curve",
        "sequence_accuracy_curve",
        "accuracy_by_length",
        "attention_kept",
        "epochs/attention_epoch_0001",
        "epochs/attention_epoch_0002",
    ):
        with Image.open(files / "plots" / f"{name}.png") as picture:
            assert picture.width > 300
    with Image.open(files / "plots" / "attention.gif") as animation:
        assert animation.n_frames == 3
    with np.load(files / "reports" / "test_predictions.npz") as saved:
        sources, exact = saved["source"], saved["exact"]
    assert exact.shape == (40,) and exact.mean() == logged["test_sequence_accuracy"][0][1]
    summary = json.loads((files / "reports" / "reversal_report.json").read_text())
    assert summary["mistakes"] == (~exact).sum()
    assert json.loads((files / "config.json").read_text())["attention"] == "dot"
    version = MlflowClient().get_model_version_by_alias("seq2seq-reverse", "champion")
    assert version.tags["task"] == "sequence-reversal" and "val_sequence_accuracy" in version.tags
    rows = [{"sequence": [token - 3 for token in row if token >= 3]} for row in sources[:10].tolist()]
    answers = mlflow.pyfunc.load_model("models:/seq2seq-reverse@champion").predict(rows)
    assert [answer["correct"] for answer in answers] == exact[:10].tolist()


def test_a_network_without_attention_has_no_attention_to_show(store: Path) -> None:
    assert train_seq2seq.main([*TINY, "--attention", "none"]) is not None
    run = only_run()
    assert "test_alignment" not in run.data.metrics
    assert not list((artifacts(run) / "plots").rglob("attention*"))


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_it_learns_to_reverse_and_stops_when_everything_is_reversed(cell: str, store: Path) -> None:
    options = ["--train_size", "1000", "--hidden_size", "32", "--epochs", "40", "--stop_at", "1", "--register", "no"]
    result = train_seq2seq.main([*SMALL, "--cell", cell, "--positions", "relative", *options])
    assert result is not None
    assert result.metrics["val_sequence_accuracy"] == 1.0
    assert result.metrics["test_sequence_accuracy"] > 0.9
    epochs = [step for step, _ in histories(result.run_id)["val_loss"]]
    assert epochs[-1] == result.best_epoch < 40


# Dropout and sampled decoder inputs draw random numbers; both must be the same after resuming.
RESUMED = [*SMALL, "--epochs", "3", "--dropout", "0.2", "--teacher_forcing", "0.5"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[dict, dict]:
    """Metrics and last weights of a run that nothing happened to."""
    return uninterrupted(train_seq2seq.main, RESUMED, tmp_path_factory.mktemp("whole"), empty_store)


@pytest.mark.figures
@pytest.mark.parametrize(
    ("where", "epoch"),
    [
        ("in an epoch", 3),
        pytest.param("after logging", 2, marks=pytest.mark.full),
        pytest.param("while testing", 3, marks=pytest.mark.full),
    ],
)
def test_a_killed_run_is_resumed_to_the_same_weights_metrics_and_animation(
    where: str, epoch: int, store: Path, whole: tuple[dict, dict]
) -> None:
    assert train_and_die(where, epoch, RESUMED, "train_seq2seq") == -signal.SIGKILL
    run = only_run()
    result = train_seq2seq.main(["--resume", run.info.run_id])
    assert result is not None and result.run_id == run.info.run_id
    expected_metrics, expected_weights = whole
    assert histories(run.info.run_id) == expected_metrics
    assert_same_weights(weights(run.info.run_id, 3), expected_weights)
    with Image.open(artifacts(run) / "plots" / "attention.gif") as animation:
        assert animation.n_frames == 4  # three epochs, those before the end among them, and the kept network


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--min_length", "9", "--max_length", "5"], "min_length is 9; valid: at most 5, which is max_length"),
        (["--positions", "rotery", "--cell", "transformer"], "positions is 'rotery'; did you mean 'rotary'"),
        (["--cell", "transformer", "--hidden_size", "30"], "hidden_size"),
        (["--batch_size", "300", "--train_size", "200"], "batch_size is 300; valid: 1 to 200"),
        (["--vocab_size", "2", "--max_length", "3"], "different sequences"),
    ],
)
def test_bad_input_is_one_clear_line_and_makes_no_run(arguments: list[str], expected: str, store: Path) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        train_seq2seq.main(arguments)
    assert "\n" not in str(caught.value)
    assert not all_runs()


@pytest.mark.parametrize("model", SEQ2SEQ_MODELS)
def test_every_variant_can_be_set_up_measured_and_saved(model: str, tmp_path: Path) -> None:
    from experiments.config import Seq2SeqConfig, cli
    from experiments.training import devices
    from tasks.sequence_reversal import load_reverser

    cell, variant = model.split("-")
    option = "--positions" if cell == "transformer" else "--attention"
    config, _ = cli.parse(Seq2SeqConfig, [*TINY, "--cell", cell, option, variant])
    assert config.model == model
    config = setup.decide(config)
    training = setup.prepare(config, devices.make_accelerator("cpu", "fp32"))
    metrics = training.evaluate(training.state.network)
    assert all(math.isfinite(value) for value in metrics.values())
    report.save_model(training, training.state.network, tmp_path)
    again, _ = load_reverser(tmp_path)
    assert_same_weights(dict(again.state_dict()), dict(training.state.network.state_dict()))


def test_a_cpu_without_an_lstm_in_bf16_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.training import devices

    monkeypatch.setattr(devices, "cpu_runs_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"precision is 'bf16'.*no LSTM.*valid here: auto, fp32"):
        train_seq2seq.main(["--cell", "lstm", "--precision", "bf16", "--device", "cpu"])
