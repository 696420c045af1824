"""A real tracking server that is killed in the middle of a training: nothing waits, and it gets everything once."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from experiments import compare, replay, train_cnn
from experiments.comparison import cnn as cnn_kind
from experiments.config import ConfigError
from experiments.tracking.run import Tracker
from experiments.tracking.spool import Spool, spooled
from tasks import registry
from tests.support.runs import TINY, histories, only_run
from tests.support.tracking_server import PATIENCE, TrackingServer, tracking_server

EPOCHS = 6
pytestmark = pytest.mark.full


@pytest.fixture
def server(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(empty_store.read_bytes())
    with tracking_server(f"sqlite:///{tmp_path / 'server' / 'mlflow.db'}", tmp_path, monkeypatch) as running:
        yield running


def at_epoch(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> list[float]:
    """Have something done before an epoch is logged; gives the seconds that logging each epoch took."""
    honest, seconds = Tracker.log_epoch, []

    def log_epoch(self: Tracker, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == number:
            action()
        started = time.perf_counter()
        honest(self, epoch, metrics)
        seconds.append(time.perf_counter() - started)

    monkeypatch.setattr(Tracker, "log_epoch", log_epoch)
    return seconds


def assert_complete(server: TrackingServer) -> None:
    """The only run is finished, with one value of each metric a step, its artifacts, and one model, the champion."""
    client, run = MlflowClient(), only_run()
    assert run.info.status == "FINISHED" and run.data.tags["best_epoch"].isdigit()
    for key, values in histories(run.info.run_id).items():
        expected = [int(run.data.tags["best_epoch"])] if key.startswith("test_") else list(range(1, EPOCHS + 1))
        assert sorted(step for step, _ in values) == expected, key
    kept = server.artifacts / run.info.experiment_id / run.info.run_id / "artifacts"
    for name in ("config.json", "plots/loss_curve.png", "reports/classification_report.json", "checkpoints"):
        assert (kept / name).exists(), name
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["digits"]
    (version,) = client.search_model_versions("name = 'cnn-digits'")
    champion = registry.champion("cnn-digits")
    assert champion is not None and champion.version == version.version and champion.run_id == run.info.run_id
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert {metric.key for metric in model.metrics or []} >= {"test_accuracy", "test_f1"}
    note = run.data.tags["mlflow.note.content"]
    assert f"cnn-digits version {version.version}" in note and "not registered yet" not in note
    assert spooled(Path("spool")) == []


def test_a_server_that_comes_back_gets_what_it_missed(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = at_epoch(monkeypatch, 3, server.kill)
    at_epoch(monkeypatch, 5, server.start)
    result = train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    assert result is not None and "becomes champion" in result.registry
    assert max(seconds[:4]) < 2  # MLflow by itself takes four minutes for each
    printed = capsys.readouterr().err
    assert printed.count("until it is back, what is logged waits in") == 1
    assert "it has got what had waited" in printed
    assert_complete(server)


def test_what_a_run_had_to_keep_is_replayed_also_if_the_replay_is_killed(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = at_epoch(monkeypatch, 3, server.kill)
    result = train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    assert result is not None and result.model_uri == ""
    assert "not registered yet" in result.registry and "python -m experiments.replay" in result.registry
    assert max(seconds) < 2
    assert spooled(Path("spool")) == [result.run_id]
    for name in PATIENCE:
        monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match="does not answer"):
        replay.main([])

    server.start()
    assert only_run().info.status == "RUNNING"

    class KilledError(BaseException):
        pass

    honest = Spool.done
    # Killed after each operation was carried out and before that was noted: each is then carried out twice.
    kills, sent = 0, False
    while not sent:
        calls = iter(range(20))

        def die_once(self: Spool, names: list[str], calls: Iterator[int] = calls) -> None:
            if next(calls) == 1:
                raise KilledError
            honest(self, names)

        with monkeypatch.context() as patch:
            patch.setattr(Spool, "done", die_once)
            try:
                replay.main(["--spool", "spool", "--tracking_uri", server.uri])
                sent = True
            except KilledError:
                kills += 1
    assert kills > 3
    assert_complete(server)
    with pytest.raises(ConfigError, match="is FINISHED"):
        train_cnn.main(["--resume", result.run_id])


def test_a_run_cut_off_during_an_outage_goes_on_with_one_value_a_step(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutOffError(Exception):
        pass

    def cut() -> None:
        raise CutOffError

    with monkeypatch.context() as patch:
        at_epoch(patch, 3, server.kill)
        at_epoch(patch, 5, cut)
        with pytest.raises(CutOffError):
            train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    (run_id,) = spooled(Path("spool"))
    with pytest.raises(ConfigError, match=r"does not answer: .*; is it running"):
        train_cnn.main(["--resume", run_id])
    server.start()
    assert [step for step, _ in histories(run_id)["val_loss"]] == [1, 2]
    result = train_cnn.main(["--resume", run_id])
    assert result is not None and result.run_id == run_id
    assert_complete(server)


def test_a_comparison_waits_for_the_server_and_loses_no_training(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cnn_kind.CnnKind, "seconds_per_example", lambda *_: 1e-4)
    waited: list[list[str]] = []
    honest = cnn_kind.train

    def train(*arguments: Any) -> Any:
        waited.append(spooled(Path("spool")))
        if len(waited) == 2:
            threading.Timer(3, server.start).start()
        else:
            at_epoch(monkeypatch, 2, server.kill)
        result = honest(*arguments)
        monkeypatch.setattr(Tracker, "log_epoch", log_epoch)
        return result

    log_epoch = Tracker.log_epoch
    monkeypatch.setattr(cnn_kind, "train", train)
    small = ["--epochs", "2", "--train_size", "200", "--threads", "1"]
    result = compare.main(["--models", "lenet5", "--seeds", "2", *small])
    assert len(waited) == 2 and len(waited[1]) >= 1  # the first ended while the server was away
    assert not result.failures and spooled(Path("spool")) == []
    client = MlflowClient()
    runs = client.search_runs([client.get_run(result.run_id).info.experiment_id])
    assert len(runs) == 3 and {run.info.status for run in runs} == {"FINISHED"}
    assert {version.run_id for version in client.search_model_versions("name = 'cnn-digits'")} == {
        run.info.run_id for run in runs if run.info.run_id != result.run_id
    }
