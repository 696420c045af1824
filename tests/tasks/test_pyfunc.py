"""Text tasks as MLflow models: logged, loaded, asked with tables and parameters, streamed; errors speak."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import init

import models as networks
from tasks import registry
from tasks.image_classification import ClassifierConfig
from tasks.trained import save_network
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


@pytest.fixture(scope="module")
def models(tiny_folder: Any, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Models of some tasks as MLflow loads them."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.create_experiment("served", artifact_location=str(folder / "artifacts"))
    loaded = {}
    for task in ("sentiment-analysis", "question-answering", "chatbot", "image-classification"):
        place = folder / task / "model"
        if task == "image-classification":
            name = "lenet5"
            statistics = {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.3, 0.3)}
            config = ClassifierConfig(name, "small", 3, tuple("0123456789"), **statistics)
            save_network(place, networks.build(name, 10), config)
        else:
            name = TASK_MODELS[task][0]
            copytree(tiny_folder(name), place)
        with mlflow.start_run(experiment_id=experiment):
            info = registry.package("model", task, place, name)
        loaded[task] = mlflow.pyfunc.load_model(info.model_uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # as a server sets it, for good
        yield loaded
    mlflow.set_tracking_uri(None)


@pytest.fixture
def served(models: dict[str, Any]) -> dict[str, Any]:
    """The models behind the application of `mlflow models serve`."""
    return {task: TestClient(init(model)) for task, model in models.items()}


def asked(client: Any, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    content = body if kind == "text/csv" else json.dumps(body)
    answer = client.post("/invocations", content=content, headers={"Content-Type": kind})
    found = answer.json()
    return answer.status_code, found.get("predictions", found)


@pytest.mark.filterwarnings("ignore")
def test_a_server_of_mlflow_takes_its_own_forms_of_input(served: dict[str, Any]) -> None:
    texts = ["a good film", "bad"]
    records = [{"text": text} for text in texts]
    forms = [
        {"inputs": {"text": texts}},
        {"inputs": texts},
        {"inputs": records},
        {"instances": records},
        {"dataframe_records": records},
        {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}},
    ]
    found = [asked(served["sentiment-analysis"], form) for form in forms]
    found += [
        asked(served["sentiment-analysis"], pd.DataFrame(records).to_csv(index=index), "text/csv")
        for index in (True, False)
    ]
    assert {status for status, _ in found} == {200}
    assert len({json.dumps([row["scores"] for row in rows]) for _, rows in found}) == 1 and len(found[0][1]) == 2
    table = "question,context\nWho?,Ada wrote it.\n"
    assert asked(served["question-answering"], table, "text/csv")[0] == 200
    messages = [{"role": "user", "content": "Hi", "name": "Bo"}]
    parameters = {"max_new_tokens": 4}
    for form in ({"inputs": {"messages": messages}}, {"dataframe_records": [{"messages": messages}]}):
        status, rows = asked(served["chatbot"], {**form, "params": parameters})
        assert status == 200 and len(rows) == 1 and rows[0]["finish_reason"]
    status, rows = asked(served["chatbot"], {"inputs": {"messages": [messages, messages]}, "params": parameters})
    assert status == 200 and [row["reply"] for row in rows] == [rows[0]["reply"]] * 2


@pytest.mark.filterwarnings("ignore")
def test_rows_of_pixels_are_one_picture(models: dict[str, Any], served: dict[str, Any]) -> None:
    color = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for pixels in (color.tolist(), color[..., 0].tolist()):
        [expected] = models["image-classification"].predict([{"image": pixels}])
        for form in (
            {"inputs": {"image": pixels}},
            {"inputs": [{"image": pixels}]},
            {"dataframe_records": [{"image": pixels}]},
        ):
            status, rows = asked(served["image-classification"], form)
            assert status == 200 and [row["scores"] for row in rows] == [expected["scores"]]
        [row] = models["image-classification"].predict({"image": pixels})
        assert row["scores"] == expected["scores"]


@pytest.mark.filterwarnings("ignore")
def test_pictures_as_one_list_each_are_not_taken_for_one_picture(
    models: dict[str, Any], served: dict[str, Any]
) -> None:
    flat = [{"image": [place % 256 for place in range(784)]}] * 3
    says = r"^row 1 of 3: image has shape .*784.*; valid: \(height, width\) gray"
    with pytest.raises(MlflowException, match=says):
        models["image-classification"].predict(flat)
    status, body = asked(served["image-classification"], {"dataframe_records": flat})
    assert status == 400 and "row 1 of 3: image has shape" in body["message"]


@pytest.mark.filterwarnings("ignore")
def test_a_table_of_pictures_without_a_row_is_refused(models: dict[str, Any], served: dict[str, Any]) -> None:
    with pytest.raises(MlflowException, match=r"^0 rows; valid: 1 to"):
        models["image-classification"].predict(pd.DataFrame({"image": []}))
    assert asked(served["image-classification"], {"dataframe_records": []})[0] == 400


@pytest.mark.filterwarnings("ignore")
def test_a_row_without_anything_is_named(models: dict[str, Any], served: dict[str, Any]) -> None:
    for nothing in (None, float("nan"), pd.NA):
        with pytest.raises(MlflowException, match=r"^row 2 of 3: text is empty .None.; sentiment-analysis takes text"):
            models["sentiment-analysis"].predict(pd.DataFrame({"text": ["fine", nothing, "bad"]}))
    status, body = asked(served["sentiment-analysis"], 'text\nfine\n""\n', "text/csv")
    assert status == 400 and "row 2 of 2: text is empty (None)" in body["message"]


@pytest.mark.filterwarnings("ignore")
def test_a_dictionary_is_a_row(models: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    [row] = models["chatbot"].predict({"messages": [*messages, messages[0]]}, params={"max_new_tokens": 4})
    assert row["dropped_messages"] == 0 and row["prompt_tokens"] > 10
