"""What holds of every page that reads MLflow."""

from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.support.pages import fine, press, texts


@pytest.mark.parametrize("name", ["home", "tasks", "image", "compare", "seq2seq", "models", "results"])
def test_a_store_that_is_down_is_said_with_a_retry(tool, page, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", down)
        app = page(name)
        assert not app.exception and "does not answer: connection refused" in texts(app)
    fine(press(app, "Try again"))
