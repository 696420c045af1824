"""The routes of the gateway within one process: rows in, rows out, streams, and what cannot be answered."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tasks import TASKS, task_class
from tasks.base import ModelFolderError
from tasks.runs import StoreUnreachableError
from tasks.runtime.loaded import ModelTooLargeError
from tasks.runtime.memory import DeviceFullError
from tasks.runtime.rows import ROWS_AT_ONCE, RequestTask, work
from tests.support.gateway import Client, Lengths, Parrot, Parts, parts, running, sent_events, version, words

ADDRESS = "http://127.0.0.1"


@pytest.fixture
def fresh(no_weights: None) -> Iterator[tuple[Parts, TestClient]]:
    """A gateway that nobody has asked anything."""
    made = parts()
    with TestClient(made.app, base_url=ADDRESS) as client:
        yield made, client


def test_one_row_in_one_row_out(client: TestClient) -> None:
    answer = client.post("/tasks/lengths", json={"inputs": {"text": "four", "more": 1}, "params": {"plus": 0.5}})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    row = answer.json()
    assert (row["length"], row["model"]) == (4.5, "lengths/1") and row["seconds"] >= 0


def test_a_list_comes_back_as_a_list_and_goes_through_the_model_in_batches(client: TestClient) -> None:
    texts = ["x" * (number % 50 + 1) for number in range(2 * ROWS_AT_ONCE + 3)]
    Lengths.batches.clear()
    answer = client.post("/tasks/lengths", json={"inputs": [{"text": text} for text in texts]}).json()
    assert [row["length"] for row in answer] == [len(text) for text in texts]
    assert Lengths.batches == [ROWS_AT_ONCE, ROWS_AT_ONCE, 3]
    assert [row["length"] for row in client.post("/tasks/lengths", json={"inputs": [{"text": "ab"}]}).json()] == [2]


def test_sentiment_has_its_batches_where_no_explanation_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = task_class("sentiment-analysis")(Path(), "mine")
    sizes: list[int] = []

    def answer(rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Any) -> list[dict[str, Any]]:
        sizes.append(len(rows))
        return [{"label": "positive"} for _ in rows]

    monkeypatch.setattr(asked, "answer", answer)
    monkeypatch.setattr(asked, "_explained", lambda row, cancel: pieces())
    monkeypatch.setattr(asked, "remarks", lambda row, parameters: {})  # it is not loaded

    def pieces() -> Iterator[dict[str, Any]]:
        yield {"step": 1, "steps": 1}
        return {"label": "positive", "words": []}

    rows = [{"text": f"text {number}"} for number in range(ROWS_AT_ONCE + 3)]
    [whole] = RequestTask(asked).stream(work(rows, many=True))
    assert sizes == [ROWS_AT_ONCE, 3] and len(whole["rows"]) == len(rows)
    [whole] = RequestTask(asked).stream(work(rows[:2], many=True), {"explain": True})
    assert sizes == [ROWS_AT_ONCE, 3] and [row["words"] for row in whole["rows"]] == [[], []]


def test_rows_of_a_task_that_writes_go_one_by_one(client: TestClient) -> None:
    answer = client.post("/tasks/chatbot", json={"inputs": [words(3), words(2)]}).json()
    assert [row["reply"] for row in answer] == ["0 1 2", "0 1"]


def test_a_stream_has_the_pieces_and_last_the_whole_row(client: TestClient) -> None:
    answer = client.post("/tasks/chatbot", json={"inputs": words(3), "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream") and "content-length" not in answer.headers
    *pieces, (name, row) = sent_events(answer.content)
    assert pieces == [("part", {"piece": "0"}), ("part", {"piece": " 1"}), ("part", {"piece": " 2"})]
    assert (name, row["reply"], row["model"]) == ("row", "0 1 2", "chatbot/2")


def test_a_task_without_pieces_streams_its_row(client: TestClient) -> None:
    [(name, row)] = sent_events(client.post("/tasks/lengths", json={"inputs": {"text": "ab"}, "stream": True}).content)
    assert (name, row["length"]) == ("row", 2)


def test_an_error_after_the_start_is_an_event_and_before_it_a_status(client: TestClient) -> None:
    row = {"messages": [{"role": "user", "content": "so far fail"}]}
    answer = client.post("/tasks/chatbot", json={"inputs": row, "stream": True})
    *pieces, (name, told) = sent_events(answer.content)
    assert answer.status_code == 200 and [data["piece"] for _, data in pieces] == ["so", " far"]
    assert (name, told["error"]["code"]) == ("error", "model_failed")
    assert "secret" not in answer.text and "RuntimeError" in told["error"]["message"]
    row = {"messages": [{"role": "user", "content": "fail"}]}
    assert client.post("/tasks/chatbot", json={"inputs": row, "stream": True}).status_code == 500


def test_what_json_does_not_know_is_replaced(client: TestClient) -> None:
    answer = client.post("/tasks/lengths", json={"inputs": [{"text": text} for text in ("nan", "inf", "half", "ü")]})
    assert answer.status_code == 200 and b"NaN" not in answer.content and b"Infinity" not in answer.content
    assert [row["length"] for row in json.loads(answer.content.decode("utf-8"))] == [None, [None, 1.0], "?", 1]


def test_models_are_chosen_by_reference(client: TestClient) -> None:
    def model(reference: str | None) -> str:
        return client.post("/tasks/chatbot", json={"inputs": words(1), "model": reference}).json()["model"]

    assert {model(name) for name in (None, "chatbot", "chatbot@champion")} == {"chatbot/2"}
    assert model("chatbot/1") == "chatbot/1"


BAD = [
    ("chatbots", {"inputs": {}}, 404, "unknown_task", "unknown task 'chatbots'; valid: sentiment-analysis,"),
    ("lengths", {"inputs": {"text": "a"}, "model": "nope"}, 404, "model_not_found", "no registered model nope"),
    ("lengths", {"inputs": {"text": "a"}, "model": "lengths@x"}, 404, "model_not_found", "no registered model"),
    ("lengths", {"inputs": {"text": "a"}, "model": "chatbot"}, 404, "model_not_found",
     "is for chatbot; registered for lengths: lengths"),
    ("lengths", {"inputs": {"text": "a"}, "model": "\ud800"}, 400, "invalid_input", "model is '\\ud800'; valid"),
    ("lengths", {"inputs": {"text": "a"}, "model": "x" * 9999}, 400, "invalid_input", "model is 'xxx"),
    ("lengths", {"inputs": {"text": ""}}, 400, "invalid_input", "text is empty; valid: text of 1 character"),
    ("lengths", {"inputs": {}}, 400, "invalid_input", "column 'text' is missing"),
    ("lengths", {"inputs": [{"text": "a"}, {"text": " "}]}, 400, "invalid_input", "inputs[1]: text is only white"),
    ("lengths", {"inputs": [{"text": "a"}, 3]}, 400, "invalid_input", "inputs[1] is 3; valid: an object"),
    ("lengths", {"inputs": []}, 400, "invalid_input", "0 rows; valid: 1 to 10000"),
    ("lengths", {"inputs": [{"text": "a"}] * 10_001}, 400, "invalid_input", "an object or a list of at most 10000"),
    ("lengths", {"inputs": "a"}, 400, "invalid_input", "inputs is 'a'; valid: an object or a list"),
    ("lengths", {"input": {}}, 400, "invalid_input", "unknown field 'input'; valid: inputs, params, model, stream"),
    ("lengths", {"inputs": {"text": "a"}, "params": {"plus": 11}}, 400, "invalid_input",
     "plus is 11; valid: a number from -10 to 10"),
    ("lengths", {"inputs": {"text": "a"}, "params": {"minus": 1}}, 400, "invalid_input", "unknown parameter 'minus'"),
    ("lengths", {"inputs": {"text": "a"}, "stream": "yes"}, 400, "invalid_input", "stream is 'yes'; valid: true or"),
    ("lengths", {"inputs": [{"text": "a"}], "stream": True}, 400, "invalid_input", "valid: one row"),
    ("lengths", {"inputs": {"text": "refuse"}}, 400, "invalid_input", "text is refused by the model"),
    ("lengths", {"inputs": {"text": "fail"}}, 500, "model_failed", "the model failed: RuntimeError"),
    ("chatbot", {"inputs": {"messages": [{"role": "user", "content": "\ud83d"}]}}, 400, "invalid_input",
     "messages[0].content has half of a surrogate pair"),
    ("lengths", b'{"inputs": {"text": NaN}}', 400, "invalid_input", "text is empty (nan)"),
    ("lengths", b'{"inputs": ' + b"9" * 5000 + b"}", 400, "invalid_json", "Exceeds the limit"),
    ("lengths", b"[" * 200_000, 400, "invalid_json", "nested too deeply"),
    ("lengths", b'{"inputs": ', 400, "invalid_json", "the body is not JSON: Expecting value at line 1, column 12"),
    ("lengths", b'{"\xff', 400, "invalid_json", "the body is not JSON: it is not utf-8 at byte 2"),
    ("lengths", b"", 400, "invalid_input", "the body is missing"),
    ("lengths", {}, 400, "invalid_input", "inputs is missing"),
    ("lengths", b"[]", 400, "invalid_input", "the body is []; valid: an object"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "body", "status", "code", "expected"), BAD, ids=[f"{b[3]}-{b[4][:40]}" for b in BAD])
def test_what_cannot_be_answered_is_a_sentence(
    client: TestClient, task: str, body: Any, status: int, code: str, expected: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(f"/tasks/{task}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["code"] == code
    assert expected in error["message"] and len(error["message"]) < 400
    assert "Traceback" not in answer.text and "secret" not in answer.text


def test_bad_input_neither_waits_nor_loads_a_model(fresh: tuple[Parts, TestClient]) -> None:
    made, client = fresh
    assert client.post("/tasks/lengths", json={"inputs": {"text": ""}}).status_code == 400
    assert made.gateway.worker.statistics().loaded == {}


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_content_types_are_refused(client: TestClient, kind: str) -> None:
    answer = client.post("/tasks/lengths", content=b'{"inputs": {"text": "a"}}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}
    assert client.post("/tasks/lengths", content=b"{}", headers=headers).status_code == 415
    del headers["Content-Encoding"]
    assert client.post("/tasks/lengths", content=b'{"inputs": {"text": "a"}}', headers=headers).status_code == 200


def test_other_addresses_and_methods(client: TestClient) -> None:
    for method, path, status in (("GET", "/", 404), ("GET", "/tasks/lengths", 405), ("PUT", "/tasks/lengths", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert client.get("/tasks/lengths").headers["allow"] == "POST"
    assert client.post("/tasks/lengths/", json={}).status_code == 404


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnreachableError("MLflow's store at /home/me does not answer"), 503, "registry_unreachable"),
        (ModelFolderError("/home/me/model is damaged"), 500, "model_damaged"),
        (ModelTooLargeError("lengths/1 needs 9.00 GB of memory"), 503, "model_too_large"),
        (DeviceFullError("lengths/1 ran out of the device's memory"), 503, "device_full"),
    ],
)
def test_what_this_machine_lacks_is_told_without_its_paths(
    no_weights: None, caplog: pytest.LogCaptureFixture, error: Exception, status: int, code: str
) -> None:
    def loads(_: str) -> Any:
        raise error

    with TestClient(parts(loads=loads).app, base_url=ADDRESS) as client:
        answer = client.post("/tasks/lengths", json={"inputs": {"text": "a"}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "/home" not in answer.text and str(error) in caplog.text


def test_tasks_are_listed_with_parameters_and_models(client: TestClient) -> None:
    listed = {entry["task"]: entry for entry in client.get("/tasks").json()}
    assert set(listed) == set(TASKS)
    assert listed["lengths"]["params"]["plus"] == {
        "type": ["number", "null"],
        "description": "added",
        "default": 0.0,
        "minimum": -10,
        "maximum": 10,
    }
    models = {one["model"]: one["champion"] for one in listed["chatbot"]["models"]}
    assert models == {"chatbot/2": True, "chatbot/1": False}
    assert listed["summarization"]["models"] == []


def test_openapi_describes_every_task_by_its_own_parameters(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    assert {f"/tasks/{task}" for task in TASKS} < set(paths)
    body = paths["/tasks/image-generation"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert fields["params"]["properties"]["steps"]["maximum"] == 150
    assert fields["inputs"]["examples"] == [{"prompt": "a lighthouse at night"}]
    assert all("422" not in operation["responses"] for path in paths.values() for operation in path.values())


def test_metrics_count_requests_tokens_and_memory(fresh: tuple[Parts, TestClient]) -> None:
    _, client = fresh
    client.post("/tasks/lengths", json={"inputs": [{"text": "a"}] * 3})
    client.post("/tasks/chatbot", json={"inputs": words(5), "stream": True})
    client.post("/tasks/nope", json={})
    client.get('/no"such%0Aaddress')
    text = client.get("/metrics").text
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    lines = {name: float(value) for name, value in rows}
    assert lines['project_dl_requests_total{route="lengths",status="200"}'] == 1
    assert lines['project_dl_requests_total{route="other",status="404"}'] == 1
    assert lines['project_dl_tokens_total{task="lengths"}'] == 6
    assert lines['project_dl_tokens_total{task="chatbot"}'] == 5
    assert lines['project_dl_request_seconds_bucket{le="+Inf",route="chatbot"}'] == 1
    assert lines['project_dl_model_bytes{model="chatbot/2"}'] == 1000000
    assert lines["project_dl_requests_open"] == 1 and "such" not in text


def test_several_champions_of_a_task_must_be_chosen_from(no_weights: None) -> None:
    async def ask() -> Client:
        async with running() as made:
            made.registry.versions = [version("a-lengths", "lengths"), version("b-lengths", "lengths")]
            return await Client(made.app, "/tasks/lengths", {"inputs": {"text": "a"}}).ask()

    answer = asyncio.run(ask())
    assert answer.status == 400
    assert "model is missing, and lengths has several; valid: a-lengths, b-lengths" in answer.json()["error"]["message"]


def test_parameters_reach_the_task_checked(client: TestClient) -> None:
    Parrot.said.clear()
    Parrot.asked.clear()
    client.post("/tasks/chatbot", json={"inputs": words(2), "params": {"max_new_tokens": 1.0}})
    assert Parrot.said == ["0"] and Parrot.asked[0][1]["max_new_tokens"] == 1
