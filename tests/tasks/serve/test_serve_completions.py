"""OpenAI's chat completions: what is asked reaches the chatbot, what it says comes back in the API's shapes."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.gateway import Parrot, parts, sent_events

ADDRESS = "http://127.0.0.1"
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(no_weights: None) -> Iterator[TestClient]:
    with TestClient(parts().app, base_url=ADDRESS) as client:
        yield client


def chat(text: str = "one two three", **fields: Any) -> dict[str, Any]:
    return {"model": "chatbot", "messages": [{"role": "user", "content": text}], **fields}


def test_an_answer_has_the_shape_of_the_api(client: TestClient) -> None:
    answer = client.post(PATH, json=chat()).json()
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "chatbot/2"
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "one two three", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_a_stream_has_a_chunk_a_piece_and_ends_with_done(client: TestClient) -> None:
    answer = client.post(PATH, json=chat(stream=True, max_tokens=2, stream_options={"include_usage": True}))
    *chunks, (_, done) = sent_events(answer.content)
    assert done == "[DONE]"
    *said, usage = [chunk for _, chunk in chunks]
    assert [chunk["choices"][0]["delta"] for chunk in said] == [
        {"role": "assistant", "content": ""}, {"content": "one"}, {"content": " two"}, {}
    ]  # fmt: skip
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None, None, None, "length"]
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 9
    assert len({chunk["id"] for _, chunk in chunks}) == 1
    plain = sent_events(client.post(PATH, json=chat(stream=True)).content)
    assert all("usage" not in chunk for _, chunk in plain[:-1])


def test_an_error_on_a_stream_is_one_that_clients_know(client: TestClient) -> None:
    events = sent_events(client.post(PATH, json=chat("so fail", stream=True)).content)
    assert events[-1][1] == "[DONE]" and events[-2][1]["error"]["type"] == "server_error"


def test_settings_reach_the_task_under_its_own_names(client: TestClient) -> None:
    Parrot.asked.clear()
    fields = {
        "max_tokens": 9, "max_completion_tokens": 5, "temperature": 0, "top_p": 0.5, "seed": 3, "top_k": 7,
        "stop": ["\n", "END"], "user": "me", "store": False, "n": 1, "presence_penalty": 0, "logprobs": False,
        "response_format": {"type": "text"}, "frequency_penalty": 0.0, "logit_bias": None,
    }  # fmt: skip
    assert client.post(PATH, json=chat(**fields)).status_code == 200
    _, parameters = Parrot.asked[0]
    assert parameters == {
        "max_new_tokens": 5, "temperature": 0.0, "top_p": 0.5, "top_k": 7, "repetition_penalty": 1.0, "seed": 3,
        "stop": "\\n\nEND",
    }  # fmt: skip
    from tasks.engines.generation import stop_strings

    assert stop_strings(parameters["stop"]) == ("\n", "END")


def test_messages_may_be_in_parts_and_come_from_a_developer(client: TestClient) -> None:
    Parrot.asked.clear()
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts, "name": "x"}]
    assert client.post(PATH, json={"messages": messages}).status_code == 200
    assert Parrot.asked[0][0] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one\ntwo"}]


@pytest.mark.parametrize(
    ("fields", "status", "param", "expected"),
    [
        ({"max_tokens": 0}, 400, "max_tokens", "max_tokens is 0; valid: a whole number from 1 to 4096"),
        ({"max_completion_tokens": 0}, 400, "max_completion_tokens", "max_completion_tokens is 0; valid"),
        ({"messages": [{"role": "user", "content": "broken"}]}, 400, "max_tokens", "max_tokens is too large for this"),
        ({"temperature": 9}, 400, "temperature", "temperature is 9; valid: a number from 0 to 5"),
        ({"seed": -1}, 400, "seed", "seed is -1; valid: a whole number from 0"),
        ({"stop": [""]}, 400, "stop", "stop is ['']; valid"),
        ({"stop": 3}, 400, "stop", "stop is 3; valid"),
        ({"stop": "\\n"}, 400, "stop", "a backslash before an n"),
        ({"n": 2}, 400, "n", "n is not supported here"),
        ({"tools": [{}]}, 400, "tools", "tools is not supported here"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "response_format is not supported"),
        ({"best_of": 2}, 400, None, "unknown field 'best_of'; valid: model, messages"),
        ({"stream": "yes"}, 400, "stream", "stream is 'yes'; valid: true or false"),
        ({"stream_options": 3}, 400, "stream_options", "stream_options is 3"),
        ({"messages": []}, 400, "messages", "messages is []; valid"),
        ({"messages": "hello"}, 400, "messages", "messages[0] is 'hello'; valid: an object"),
        ({"messages": None}, 400, "messages", "messages is empty (None)"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages", "messages[0].role is 'robot'"),
        ({"messages": [{"role": {}, "content": "a"}]}, 400, "messages", "messages[0].role is {}"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, 400, "messages", "ends with the role assistant"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages", "a part that is no"),
        ({"model": "gpt-4"}, 404, "model", "no registered model gpt-4"),
        ({"model": "lengths"}, 404, "model", "lengths/1 is for lengths; registered for chatbot: chatbot"),
        ({"model": 4}, 400, "model", "model is 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_the_words_of_the_api(
    client: TestClient, fields: dict[str, Any], status: int, param: str | None, expected: str
) -> None:
    answer = client.post(PATH, json=chat(**fields))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")
    assert expected in error["message"]


def test_models_of_the_chatbot_are_listed(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["chatbot", "chatbot/2", "chatbot/1"]
    assert client.get("/v1/models/chatbot/1").json()["id"] == "chatbot/1"
    for unknown in ("nope", "lengths", "%00", "x" * 300):
        answer = client.get(f"/v1/models/{unknown}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
