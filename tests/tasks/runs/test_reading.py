"""Runs and their files, read: what is not there is told from a store that does not answer."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE

from experiments import train_cnn
from experiments.config import RunUnavailableError
from tasks.runs import StoreUnreachableError, artifact_file, end_abandoned, find_run
from tasks.runs.reading import claim_file
from tasks.runs.trainings import find_trainings, parameter_count
from tests.support.logged_trainings import log_training

LOCKED = MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)


def raising(error: Exception) -> Any:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


def test_only_a_store_that_says_so_has_no_such_run(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient()
    for absent in ("0" * 32, "none such", "../x", "a/b", "x" * 600, ""):
        assert find_run(client, absent) is None
    run_id = client.create_run("0").info.run_id
    assert find_run(client, run_id) is not None
    monkeypatch.setattr(MlflowClient, "get_run", raising(LOCKED))
    with pytest.raises(MlflowException, match="database is locked"):
        find_run(client, run_id)


def test_a_store_that_does_not_answer_is_no_reason_to_begin_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = MlflowClient().create_run("0").info.run_id
    monkeypatch.setattr(MlflowClient, "get_run", raising(LOCKED))
    with pytest.raises(RunUnavailableError, match="does not answer: database is locked") as caught:
        train_cnn.main(["--resume", run_id])
    assert "\n" not in str(caught.value)


class FarArtifacts:
    """A client whose artifacts are on another machine; MLflow calls every failed download a file that is not there."""

    def __init__(self, listed: list[str] | Exception, sent: bool) -> None:
        self.listed, self.sent = listed, sent

    def list_artifacts(self, _: str, path: str | None = None) -> list[FileInfo]:
        if isinstance(self.listed, Exception):
            raise self.listed
        return [FileInfo(name, False, 1) for name in self.listed if name.rpartition("/")[0] == (path or "")]

    def download_artifacts(self, _: str, __: str, folder: str) -> str:
        if not self.sent:
            raise MlflowException("please ensure that the path is correct", RESOURCE_DOES_NOT_EXIST)
        (Path(folder) / "file").write_text("content")
        return str(Path(folder) / "file")


@pytest.fixture
def far(store: Path) -> Any:
    """A run whose artifacts are behind a server."""
    client = MlflowClient()
    experiment = client.create_experiment("far", artifact_location="mlflow-artifacts:/1")
    return client.create_run(experiment)


@pytest.mark.parametrize(
    ("listed", "sent", "expected"),
    [
        ([], False, FileNotFoundError),
        (["reports/other.json"], False, FileNotFoundError),
        (["reports/one.json"], False, StoreUnreachableError),
        (MlflowException("connection refused", INTERNAL_ERROR), False, StoreUnreachableError),
        (ConnectionError("connection refused"), False, StoreUnreachableError),
    ],
)
def test_a_file_that_cannot_be_fetched_is_not_one_that_is_missing(
    far: Any, listed: list[str] | Exception, sent: bool, expected: type[Exception]
) -> None:
    client: Any = FarArtifacts(listed, sent)
    with pytest.raises(expected), artifact_file(client, far, "reports/one.json"):
        pass


def test_a_file_is_fetched_from_far(far: Any) -> None:
    client: Any = FarArtifacts(["config.json"], sent=True)
    with artifact_file(client, far, "config.json") as path:
        assert path.read_text() == "content"
    assert not path.exists()


def test_a_store_that_does_not_answer_has_no_number_of_parameters(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = log_training(tags={"parameters": ""})
    training = find_trainings([run_id])[run_id]
    assert parameter_count(training) is None  # no model was logged
    object.__setattr__(training, "model_id", "m-" + "0" * 32)
    assert parameter_count(training) is None  # and none is there
    monkeypatch.setattr(MlflowClient, "get_logged_model", raising(LOCKED))
    with pytest.raises(MlflowException, match="database is locked"):
        parameter_count(training)


def test_a_run_whose_process_is_gone_is_ended_unless_another_process_has_it(store: Path) -> None:
    from filelock import FileLock

    client = MlflowClient()
    run = client.create_run("0")
    claim_file(run).parent.mkdir(parents=True)
    with FileLock(claim_file(run)):
        assert not end_abandoned(client, run, "killed")
    assert client.get_run(run.info.run_id).info.status == "RUNNING"
    assert end_abandoned(client, run, "killed")
    ended = client.get_run(run.info.run_id)
    assert (ended.info.status, ended.data.tags["error"]) == ("KILLED", "killed")
    client.set_terminated(run.info.run_id, "FINISHED")
    assert not end_abandoned(client, run, "killed")  # by what is known now, not when the run was read
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
