"""Tables of answers that are logged as evaluations."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.runs import StoreUnreachableError
from tasks.runs.evaluations import log_evaluation

ROWS = [{"text": "a", "label": "b"}]


def test_any_name_of_a_model_can_be_measured(store: Path) -> None:
    run_id = log_evaluation("file", "t", ROWS, {}, {"seconds/cats + dogs (2)/1": 0.5})
    run = MlflowClient().get_run(run_id)
    assert run.data.metrics == {"seconds/cats _ dogs _2_/1": 0.5} and run.info.status == "FINISHED"


def test_a_run_whose_table_is_not_kept_has_failed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_table", fail)
    with pytest.raises(StoreUnreachableError, match="no space left"):
        log_evaluation("file", "t", ROWS, {}, {})
    client = MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("evaluations").experiment_id])  # type: ignore[union-attr]
    assert run.info.status == "FAILED"
