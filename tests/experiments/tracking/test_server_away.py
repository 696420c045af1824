"""A real tracking server that is killed or hangs during a training: nothing waits, and it gets everything once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from experiments import compare, train_cnn
from experiments.comparison import duration
from experiments.config import ConfigError, TrainingError
from experiments.tracking import calls
from experiments.tracking import store as questions
from experiments.tracking.run import Tracker
from experiments.training import run as training
from tasks import registry
from tests.support.runs import TINY, histories, only_run
from tests.support.tracking_server import TrackingServer, tracking_server

EPOCHS = 6
pytestmark = pytest.mark.full


@pytest.fixture
def server(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(empty_store.read_bytes())
    for module, name, seconds in ((questions, "SHORT_S", 60.0), (questions, "PROBE_S", 8.0), (calls, "LEAST_S", 10.0)):
        monkeypatch.setattr(module, name, seconds)  # a busy machine is no outage
    with tracking_server(f"sqlite:///{tmp_path / 'server' / 'mlflow.db'}", tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the training's own thread asks, which then waits for the answer."""
    found: list[str] = []
    honest = requests.Session.request

    def request(self: requests.Session, method: str, url: str, *given: Any, **more: Any) -> requests.Response:
        if threading.current_thread() is threading.main_thread():
            found.append(url)
        return honest(self, method, url, *given, **more)

    monkeypatch.setattr(requests.Session, "request", request)
    return found


@contextmanager
def hanging(port: int) -> Iterator[list[socket.socket]]:
    """A server that takes connections and never answers; gives those that it has."""
    taken: list[socket.socket] = []
    with _listening(port) as listening:

        def accept() -> None:
            while True:
                try:
                    taken.append(listening.accept()[0])
                except OSError:  # closed
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield taken
        listening.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


def _listening(port: int) -> socket.socket:
    """A socket on the port of a server that was killed: its processes may take a moment to end."""
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > end:
                raise
            threading.Event().wait(0.05)


def at_epoch(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], object]) -> None:
    """Have something done before an epoch is logged."""
    honest = Tracker.log_epoch

    def log_epoch(self: Tracker, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == number:
            action()
        honest(self, epoch, metrics)

    monkeypatch.setattr(Tracker, "log_epoch", log_epoch)


def cut_off_by(monkeypatch: pytest.MonkeyPatch, server: TrackingServer) -> str:
    """Train beside a server that is killed and stays away; returns the run."""
    with monkeypatch.context() as patch:
        at_epoch(patch, 3, server.kill)
        with pytest.raises(TrainingError, match="does not answer") as caught:
            train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    server.start()
    run_id = only_run().info.run_id
    said = str(caught.value)
    resume = f"mlflow run . -e cnn --env-manager local -P resume={run_id}"
    assert "\n" not in said
    assert said.endswith(f"does not answer; run {run_id} stays RUNNING; to resume: {resume}")
    assert only_run().info.status == "RUNNING"
    assert len(histories(run_id).get("val_loss", [])) <= 2
    return run_id


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
    assert run.inputs is not None
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["digits"]
    (version,) = client.search_model_versions("name = 'cnn-digits'")
    champion = registry.champion("cnn-digits")
    assert champion is not None and champion.version == version.version and champion.run_id == run.info.run_id
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert {metric.key for metric in model.metrics or []} >= {"test_accuracy", "test_f1"}
    note = run.data.tags["mlflow.note.content"]
    assert f"cnn-digits version {version.version}" in note


def test_a_server_that_comes_back_gets_what_it_missed(
    server: TrackingServer, asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_epoch(monkeypatch, 1, asked.clear)
    at_epoch(monkeypatch, 3, server.kill)
    at_epoch(monkeypatch, 5, server.start)
    with monkeypatch.context() as patch:
        honest = training.finish
        # From the first epoch to the last one the training's own thread asks nothing.
        patch.setattr(training, "finish", lambda *given: (asked.append("the end"), honest(*given))[1])
        result = train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    assert result is not None and "becomes champion" in result.registry
    during = asked[: asked.index("the end")]
    assert all(url.endswith("/health") for url in during)  # by `server.start` of this test
    printed = capsys.readouterr().err
    assert "what it misses is logged when it is back" in printed and "the tracking server answers again" in printed
    assert_complete(server)


def test_a_run_that_ends_while_the_server_is_away_is_resumed_also_if_that_is_cut_off(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = cut_off_by(monkeypatch, server)

    class CutOffError(BaseException):
        pass

    for name in ("package", "register"):
        with monkeypatch.context() as patch:
            honest = getattr(registry, name)

            def done_and_cut_off(*given: Any, honest: Callable[..., Any] = honest, **more: Any) -> None:
                honest(*given, **more)
                raise CutOffError

            patch.setattr(registry, name, done_and_cut_off)
            with pytest.raises(CutOffError):
                train_cnn.main(["--resume", run_id])
    with monkeypatch.context() as patch:  # all of them are there: nothing is trained
        patch.setattr(training, "save_checkpoint", lambda *_: pytest.fail("an epoch was trained again"))
        result = train_cnn.main(["--resume", run_id])
    assert result is not None and result.run_id == run_id
    assert_complete(server)
    with pytest.raises(ConfigError, match="is FINISHED"):
        train_cnn.main(["--resume", run_id])


def test_beside_a_server_that_hangs_a_training_asks_once_at_its_end(
    server: TrackingServer, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[str] = []
    for module in (calls, questions):
        honest = module.answers
        monkeypatch.setattr(
            module,
            "answers",
            lambda uri, honest=honest: (probes.append(threading.current_thread().name), honest(uri))[1],
        )
    with monkeypatch.context() as patch:
        stuck: list[Any] = []

        def hang() -> None:
            server.kill()
            stuck.append(hanging(server.port))
            stuck.append(stuck[0].__enter__())
            asked.clear()
            probes.clear()

        at_epoch(patch, 3, hang)
        with pytest.raises(TrainingError, match=r"does not answer.*; to resume: mlflow run"):
            train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    main = threading.main_thread().name
    # All that the training waits for is POLL_S and PROBE_S, till LEAST_S are over: less than two seconds (see below).
    assert probes.count(main) <= 2
    assert not asked  # not even that question is asked by the training's own thread
    assert len(stuck[1]) <= probes.count("tracking") + probes.count(main) + 2  # MLflow's system metrics
    monkeypatch.setattr(questions, "SHORT_S", 0.0)
    with pytest.raises(ConfigError, match="does not answer; is it running"):
        train_cnn.main([*TINY])
    stuck[0].__exit__(None, None, None)
    server.start()
    monkeypatch.setattr(questions, "SHORT_S", 60.0)
    assert train_cnn.main(["--resume", only_run().info.run_id]) is not None
    assert_complete(server)


def test_the_end_of_a_short_training_waits_less_than_two_seconds() -> None:
    assert calls.LEAST_S + calls.POLL_S <= 2 and questions.PROBE_S + calls.POLL_S <= calls.LEAST_S


def test_a_run_cut_off_during_an_outage_is_resumed_with_one_value_a_step(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutOffError(Exception):
        pass

    def cut() -> None:
        raise CutOffError

    with monkeypatch.context() as patch:
        at_epoch(patch, 3, server.kill)
        at_epoch(patch, 5, cut)
        with pytest.raises(CutOffError) as caught:
            train_cnn.main([*TINY, "--epochs", str(EPOCHS)])
    assert any("stays RUNNING" in note for note in caught.value.__notes__)
    monkeypatch.setattr(questions, "SHORT_S", 0.0)
    with pytest.raises(ConfigError, match=r"does not answer; is it running"):
        train_cnn.main(["--resume", "0" * 32])
    monkeypatch.setattr(questions, "SHORT_S", 60.0)
    server.start()
    run_id = only_run().info.run_id
    result = train_cnn.main(["--resume", run_id])
    assert result is not None and result.run_id == run_id
    assert_complete(server)


def test_a_comparison_waits_for_the_server_and_loses_no_training(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duration, "seconds_per_example", lambda _: 1e-4)
    small = ["--models", "lenet5", "--seeds", "2", "--epochs", "2", "--train_size", "200", "--threads", "1"]
    with monkeypatch.context() as patch:  # nobody starts the server in time
        patch.setattr(questions, "LONG_S", 0.1)
        at_epoch(patch, 2, server.kill)
        with pytest.raises(TrainingError, match=r"every training failed|does not answer"):
            compare.main(small)
    server.start()
    trained: list[int] = []
    at_epoch(monkeypatch, 2, lambda: trained.append(2))
    honest = training.finish

    def finish(*given: Any) -> Any:
        if len(trained) == 1:  # at the end of the first training
            server.kill()
            threading.Timer(1, server.start).start()
            trained.append(0)
        return honest(*given)

    monkeypatch.setattr(training, "finish", finish)
    result = compare.main(small)
    assert not result.failures and trained == [2, 0, 2]  # the first one only had to be logged
    client = MlflowClient()
    runs = client.search_runs([client.get_run(result.run_id).info.experiment_id])
    assert len(runs) == 3 and {run.info.status for run in runs} == {"FINISHED"}
    assert {version.run_id for version in client.search_model_versions("name = 'cnn-digits'")} == {
        run.info.run_id for run in runs if run.info.run_id != result.run_id
    }
