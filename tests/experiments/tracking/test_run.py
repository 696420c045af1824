"""Beginning and ending a run in a store that does not answer just then: one line, no traceback."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from experiments import setup
from experiments.config import ConfigError, RunUnavailableError
from experiments.tracking import store as store_module
from experiments.tracking.run import abandon_run, end_shared_run, shared_run, tracked_run


def begin() -> None:
    with tracked_run("cnn"):
        raise AssertionError("it has begun")


@pytest.mark.parametrize(
    ("call", "act"),
    [
        ("create_run", begin),
        ("create_run", lambda: shared_run("tune")),
        ("set_terminated", lambda: end_shared_run(MlflowClient().create_run("0").info.run_id, "FINISHED")),
        ("set_terminated", lambda: abandon_run(MlflowClient().create_run("0").info.run_id, "no checkpoint")),
    ],
)
def test_a_store_that_goes_away_is_told_in_a_line(
    call: str, act: Callable[[], object], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise MlflowException("Max retries exceeded with url: /api\nTraceback")

    monkeypatch.setattr(MlflowClient, call, gone)
    with pytest.raises(RunUnavailableError) as told:
        act()
    assert "does not answer: nothing answers at that address" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "custom_model_development"),
        ("genai_development_inferred", "custom_model_development"),
        ("genai_development", "genai_development"),
    ],
)
@pytest.mark.parametrize("launched", [True, False])
def test_mlflows_pages_open_an_experiment_on_its_runs(
    before: str | None, after: str, launched: bool, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    number = client.create_experiment("cnn", artifact_location=str(store / "artifacts"))
    if before:
        client.set_experiment_tag(number, "mlflow.experimentKind", before)
    if launched:
        monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run(number).info.run_id)
    end_shared_run(shared_run("cnn").run_id, "FINISHED")
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == after


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_that_goes_on_no_longer_has_the_error_that_ended_it(shared: bool, store: Path) -> None:
    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    end_shared_run(run_id, "FAILED", {"error": "out of memory"})

    def go_on() -> None:
        if shared:
            shared_run("cnn", run_id)
            return
        with tracked_run("cnn", run_id, system_metrics=False):
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        go_on()
    run = client.get_run(run_id)
    assert run.info.status == ("RUNNING" if shared else "KILLED") and "error" not in run.data.tags


def test_an_experiment_that_a_run_makes_is_marked_too(store: Path) -> None:
    with tracked_run("register", system_metrics=False) as tracker:
        experiment = MlflowClient().get_experiment(MlflowClient().get_run(tracker.run_id).info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_no_message_tells_the_password_of_the_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "postgresql://me:secret@host/runs")
    monkeypatch.setattr(store_module, "known_run", lambda _: None)
    with pytest.raises(ConfigError, match="there is no such run in postgresql://host/runs"):
        store_module.named_run("0123")
    monkeypatch.setattr("tasks.runs.open_store", lambda: None)
    setup.main()
    assert capsys.readouterr().out == "tracking store: postgresql://host/runs\n"
