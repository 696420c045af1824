"""Rows down, models across: typed or uploaded, answered as a batch, taken along as CSV, logged as an evaluation."""

import csv
import io
from pathlib import Path

from mlflow import MlflowClient

from tasks.base import ModelFolderError
from tasks.runtime.worker import Worker
from tests.support.batches import Upper, lines
from tests.support.pages import button, fine, opened, press
from ui.answers.batch import Batch

TASK = "sentiment-analysis"
MODELS = (f"{TASK}/1", f"{TASK}/2")


def answered(page):
    """The page with three typed rows, answered by two models."""
    app = opened(page, TASK)
    app.session_state["tasks-tab"] = "Batch"
    app.run()
    app.session_state[f"batch-rows-{TASK}"] = "Typed here"
    app.session_state[f"batch-typed-{TASK}"] = {
        "edited_rows": {},
        "added_rows": [{"text": "=a bad film"}, {"text": "5"}],
        "deleted_rows": [],
    }
    fine(app.run())
    first = app.selectbox(key=f"tasks-model-{TASK}").value
    app.multiselect(key=f"batch-models-{TASK}").set_value([one for one in MODELS if one != first]).run()
    press(app, "Answer 3 rows with 2 models")
    app.session_state["batch"].wait(60)
    return fine(app.run())


def test_typed_rows_are_answered_by_every_model_and_logged(tool, page) -> None:
    app = answered(page)
    table = app.dataframe[0].value
    assert set(table) == {"text", *MODELS} and table["text"].tolist()[1:] == ["'=a bad film", "5"]
    assert all(label for name in MODELS for label in table[name])
    rows = list(csv.DictReader(io.StringIO(app.session_state["batch"].csv().decode("utf-8-sig"))))
    assert [row["text"] for row in rows] == table["text"].tolist() and all(row[MODELS[0]] for row in rows)
    press(app, "Log to MLflow")
    fine(app)
    run_id = app.session_state["batch"].run_id
    run = MlflowClient().get_run(run_id)
    assert run.data.metrics["rows"] == 3 and run.data.metrics[f"seconds/{MODELS[0]}"] > 0
    assert "evaluation.json" in run.data.tags["mlflow.loggedArtifacts"]
    assert not [one for one in app.button if one.label == "Log to MLflow"]
    app.query_params["run"] = run_id
    app.switch_page("views/run.py").run()
    assert list(fine(app).dataframe[0].value["text"]) == table["text"].tolist()


def test_what_was_typed_stays_when_another_tab_was_open(tool, page) -> None:
    app = answered(page)
    press(app, "New batch")
    app.session_state["tasks-tab"] = "Ask"
    fine(app.run())
    app.session_state["tasks-tab"] = "Batch"
    assert button(fine(app.run()), "Answer 3 rows with 2 models")


def test_a_model_that_is_gone_does_not_keep_the_others_from_answering(tmp_path: Path) -> None:
    def load(key: str) -> Upper:
        if key == "upper/1":
            raise ModelFolderError("the model's files are gone")
        return Upper(tmp_path, "upper")

    with Worker(load, 10**9) as worker:
        batch = Batch(worker.submit, "upper", ("upper/1", "upper/2"), lines("a", "b"), {}, "file")
        batch.wait(20)
    assert (batch.state, batch.done, batch.failed) == ("done", 4, 2)
    gone = "the model's files are gone"
    assert batch.table() == [
        {"text": "a", "upper/1": gone, "upper/2": "A"},
        {"text": "b", "upper/1": gone, "upper/2": "B"},
    ]
    assert batch.errors() == [(1, f"upper/1: {gone}"), (2, f"upper/1: {gone}")]
