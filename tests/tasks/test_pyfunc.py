"""Text tasks as MLflow models: logged, loaded, asked with tables and parameters, streamed; errors speak."""

from pathlib import Path
from shutil import copytree
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from tasks import registry
from tests.support.tiny_models import TASK_MODELS

ROWS: dict[str, dict[str, Any]] = {
    "sentiment-analysis": {"text": "This film is wonderful"},
    "summarization": {"text": "The little dog ran home."},
    "next-word-prediction": {"text": "The little dog"},
    "story-completion": {"text": "Once upon a time"},
    "question-answering": {"question": "Who?", "context": "Ada wrote it."},
    "chatbot": {"messages": [{"role": "user", "content": "Hello"}]},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "summarization": {"max_length": 5},
    "next-word-prediction": {"top_k": 3},
    "story-completion": {"max_new_tokens": 6, "temperature": 0.5, "seed": 2**32 - 1, "stop": "zzz"},
    "question-answering": {"top_k": 2},
    "chatbot": {"max_new_tokens": 6},
}
TIMES = {"seconds", "tokens_per_second"}


def lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", TASK_MODELS)
def test_a_task_goes_through_mlflow_and_back(task: str, tiny_folder: Any, tiny_task: Any, store: Path) -> None:
    name = TASK_MODELS[task][0]
    folder = Path(copytree(tiny_folder(name), store / "model"))
    experiment = mlflow.create_experiment("tasks", artifact_location=str(store / "artifacts"))
    with mlflow.start_run(experiment_id=experiment):
        info = registry.package("model", task, folder, name)
    model = mlflow.pyfunc.load_model(info.model_uri)
    row, parameters = ROWS[task], PARAMETERS.get(task, {})
    [expected] = tiny_task(task, name).run([row], parameters)
    for sent in (pd.DataFrame([row]), [row]):
        [found] = model.predict(sent, params=parameters)
        assert lasting(found) == lasting(expected)
    *events, last = model.predict_stream(pd.DataFrame([row]), params=parameters)
    assert lasting(last) == lasting(expected)
    assert bool(events) == (task in ("story-completion", "chatbot", "summarization"))
    if task in ("next-word-prediction", "question-answering"):  # the others' defaults are for larger windows
        [by_default] = model.predict([row])
        assert lasting(by_default) == lasting(tiny_task(task, name).run([row])[0])
    for column in row:
        with pytest.raises(MlflowException, match=column) as error:
            model.predict([{**row, column: 3}])
        assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match="single input"):
        list(model.predict_stream(pd.DataFrame([row, row])))
