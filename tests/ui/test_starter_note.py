"""A starter is labeled as such on the task page, with a better model one click away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tasks.catalog import catalog
from ui.session import forget_versions


def test_a_starter_says_what_it_is_and_offers_the_hubs_model(
    tool: Path, page: Callable[..., Any], started: list
) -> None:
    app = page("tasks")
    key = f"starter-get-{app.selectbox(key='tasks-task').value}"
    assert not [button for button in app.button if button.key == key]
    task = app.selectbox(key="tasks-task").value
    name, number = app.selectbox(key=f"tasks-model-{task}").value.split("/")
    MlflowClient().set_model_version_tag(name, number, "starter", "true")
    forget_versions()
    app = page("tasks")
    better = catalog()[task].default
    [button] = [button for button in app.button if button.key == key]
    assert button.label.replace("\\", "") == f"Get {better.name}"
    assert any("works offline" in caption.value for caption in app.caption)
    button.click().run()
    assert started == [("register", {"task": task, "model": better.name})]
    assert any("Started" in note.value for note in app.success)
