"""Beginning and ending a run in a store that does not answer just then: one line, no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from experiments.config import RunUnavailableError
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
