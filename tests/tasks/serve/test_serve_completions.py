"""OpenAI's chat completions: what is asked reaches the chatbot, what it says comes back in the API's shapes."""

from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from tasks.engines.generation import MAX_NEW_TOKENS
from tasks.serve.bodies import task_body
from tasks.serve.completion_formats import ChatFormat
from tasks.serve.completions import NATIVE, ChatBody, TextBody
from tasks.serve.errors import ApiError
from tests.support.gateway import Parrot, sent_events

ADDRESS = "http://127.0.0.1"
PATH = "/v1/chat/completions"


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
        {"role": "assistant", "content": ""},
        {"content": "one"},
        {"content": " two"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None, None, None, "length"]
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 9
    assert len({chunk["id"] for _, chunk in chunks}) == 1
    plain = sent_events(client.post(PATH, json=chat(stream=True)).content)
    assert all("usage" not in chunk for _, chunk in plain[:-1])


def test_an_answer_tells_what_the_model_did_not_see() -> None:
    row = {"reply": "Yes.", "finish_reason": "stop", "prompt_tokens": 3, "tokens": 2, "model": "m", "seconds": 0.1}
    usual = {"dropped_messages": 0, "system_seen": True, "truncated": False}
    missed = {"unknown": ["😀"], "dropped_messages": 2, "system_seen": False, "truncated": True}
    answers = ChatFormat("m")
    assert not answers.whole({**row, **usual}).keys() & missed.keys()
    assert answers.whole({**row, **missed}).items() >= missed.items()
    *_, (_, last), _ = sent_events(answers.event({**row, **missed}))
    assert last.items() >= missed.items() and last["choices"][0]["finish_reason"] == "stop"


def test_an_error_on_a_stream_is_one_that_clients_know(client: TestClient) -> None:
    events = sent_events(client.post(PATH, json=chat("so fail", stream=True)).content)
    assert events[-1][1] == "[DONE]" and events[-2][1]["error"]["type"] == "server_error"


def test_settings_reach_the_task_under_its_own_names(client: TestClient) -> None:
    Parrot.asked.clear()
    fields = {
        "max_tokens": 9,
        "max_completion_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 3.0,
        "top_k": 7,
        "stop": ["\n", "END"],
        "repetition_penalty": None,
    }
    assert client.post(PATH, json=chat(**fields)).status_code == 200
    _, parameters = Parrot.asked[0]
    assert parameters == {
        "max_new_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.1,
        "seed": 3,
        "stop": "\\n\nEND",
    }
    from tasks.engines.language_model import stop_strings

    assert stop_strings(parameters["stop"]) == ("\n", "END")


@pytest.mark.parametrize(
    ("fields", "parameter", "valid"),
    [
        ({}, "max_new_tokens", [MAX_NEW_TOKENS]),  # what the window leaves: the task writes no more
        ({"max_tokens": 10**9}, "max_new_tokens", [MAX_NEW_TOKENS]),
        ({"max_completion_tokens": 10**9, "max_tokens": 3}, "max_new_tokens", [MAX_NEW_TOKENS]),
        ({"max_tokens": -1}, "max_new_tokens", [MAX_NEW_TOKENS]),
        ({"max_completion_tokens": -1}, "max_new_tokens", [MAX_NEW_TOKENS]),
        ({"top_k": -1}, "top_k", [0]),
        ({"seed": -1}, "seed", range(2**32)),
        ({"seed": 2**40 + 7}, "seed", [7]),
    ],
)
def test_values_beyond_the_tasks_bounds_are_fitted_into_them(
    client: TestClient, fields: dict[str, Any], parameter: str, valid: Any
) -> None:
    Parrot.asked.clear()
    assert client.post(PATH, json=chat(**fields)).status_code == 200
    assert Parrot.asked[0][1][parameter] in valid


def test_fields_that_change_nothing_are_ignored(client: TestClient) -> None:
    fields = {
        "user": "me",
        "store": False,
        "metadata": {"a": "b"},
        "reasoning_effort": "low",
        "min_p": 0.1,
        **{name: values[0] for name, values in {**ChatBody.neutral, **NATIVE}.items()},
        "tool_choice": "auto",
        "frequency_penalty": 0.0,
        "logit_bias": None,
    }
    assert client.post(PATH, json=chat(**fields)).status_code == 200


HELLO = {"role": "user", "content": "Hello"}
PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "user", "content": PARTS, "name": "x"}, {"role": "user", "content": "one\ntwo"}),
        ({"role": "assistant", "content": ""}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "content": None, "tool_calls": []}, {"role": "assistant", "content": ""}),
        ({"role": "assistant"}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "content": [], "refusal": None}, {"role": "assistant", "content": ""}),
    ],
)
def test_messages_come_in_all_shapes_of_the_api(
    client: TestClient, message: dict[str, Any], expected: dict[str, str]
) -> None:
    Parrot.asked.clear()
    assert client.post(PATH, json={"messages": [message, HELLO]}).status_code == 200
    assert Parrot.asked[0][0] == [expected, HELLO]


@pytest.mark.parametrize("content", ["", " \n", None, []])
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_without_text_is_left_out(client: TestClient, role: str, content: Any) -> None:
    Parrot.asked.clear()
    messages = [{"role": role, "content": content}, HELLO]
    assert client.post(PATH, json={"messages": messages}).status_code == 200
    assert Parrot.asked[0][0] == [HELLO]
    request = ChatBody.model_validate({"messages": messages, "n": 2}).request()
    assert request.order is not None and request.order["messages"] == [HELLO]


def test_a_reply_that_has_begun_is_continued_unless_it_has_no_text(client: TestClient) -> None:
    Parrot.asked.clear()
    for content in ("Once", " "):
        messages = [HELLO, {"role": "assistant", "content": content}]
        assert client.post(PATH, json={"messages": messages}).status_code == 200
    assert [asked for asked, _ in Parrot.asked] == [[HELLO, {"role": "assistant", "content": "Once"}], [HELLO]]


@pytest.mark.parametrize(
    ("fields", "status", "param", "expected"),
    [
        ({"max_tokens": 0}, 400, "max_tokens", "max_tokens is 0; valid: 1 or more, or -1 for what the window leaves"),
        ({"max_tokens": -2}, 400, "max_tokens", "max_tokens is -2; valid: greater than or equal to -1"),
        ({"top_k": -2}, 400, "top_k", "top_k is -2; valid: a whole number from 0"),
        ({"max_completion_tokens": "x" * 99}, 400, "max_completion_tokens", "max_completion_tokens is 'xxx"),
        ({"messages": [{"role": "user", "content": "broken"}]}, 400, "messages", "messages has 9 tokens; valid:"),
        ({"temperature": 9}, 400, "temperature", "temperature is 9"),
        ({"temperature": True}, 400, "temperature", "temperature is True; valid: a number"),
        ({"stop": ["a", ""]}, 400, "stop", "stop has an empty text; valid"),
        ({"stop": 3}, 400, "stop", "stop is 3; valid: text or a list"),
        ({"stop": "\\n"}, 400, "stop", "a backslash before an n"),
        ({"n": 9}, 400, "n", "n is 9; valid: less than or equal to 4"),
        ({"tools": [{}]}, 400, "tools", "tools[0].type is missing"),
        ({"tool_choice": "required"}, 400, "tool_choice", "tool_choice is given without tools; valid: tools beside it"),
        ({"top_logprobs": 3}, 400, "top_logprobs", "top_logprobs is given without logprobs; valid: logprobs true"),
        (
            {"response_format": {"type": "json_schema"}},
            400,
            "response_format",
            "response_format.json_schema is missing",
        ),
        ({"functions": [{}]}, 400, "functions", "functions is [{}]; valid: [], or leave it out"),
        ({"grammar": "root ::= [ab]"}, 400, "grammar", "grammar is 'root ::= [ab]'; valid: '', or leave it out"),
        ({"guided_choice": ["a", "b"]}, 400, "guided_choice", "guided_choice is ['a', 'b']; valid: [], or leave it"),
        ({"structured_outputs": {"regex": "a"}}, 400, "structured_outputs", "is {'regex': 'a'}; valid: {}, or leave"),
        ({"messages": []}, 400, "messages", "messages is []; valid: a list of at least 1"),
        ({"messages": "hello"}, 400, "messages", "messages is 'hello'; valid: a list"),
        ({"messages": [3]}, 400, "messages", "messages[0] is 3; valid: an object"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages", "role is 'robot'; valid: 'system'"),
        ({"messages": [HELLO, {"content": "a"}]}, 400, "messages", "messages[1].role is missing"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "messages", "messages[0].content is empty"),
        ({"messages": [{"role": "assistant", "content": ""}]}, 400, "messages", "messages ends without a message"),
        (
            {"messages": [{"role": "user", "content": [PARTS[0], {"type": "image_url", "image_url": {"url": "x"}}]}]},
            400,
            "messages",
            "messages[0].content[1].type is 'image_url'; valid: 'text'",
        ),
        ({"model": "gpt-4"}, 404, "model", "no registered model gpt-4"),
        ({"model": "lengths"}, 404, "model", "lengths/1 is for lengths; registered for chatbot: chatbot"),
    ],
)
def test_what_cannot_be_done_is_said_in_the_words_of_the_api(
    client: TestClient, fields: dict[str, Any], status: int, param: str | None, expected: str
) -> None:
    answer = client.post(PATH, json=chat(**fields))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (status, param, "invalid_request_error")
    assert expected in error["message"] and "\n" not in error["message"] and len(error["message"]) < 300


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (task_body("chatbot"), {"inputs": [3] * 100_000}),
        (task_body("chatbot"), {str(number): 1 for number in range(100_000)}),
        (ChatBody, {"messages": [3] * 100_000}),
        (ChatBody, {"messages": [HELLO] * 100_000}),
        (ChatBody, {"messages": [{"role": "user", "content": [3] * 100_000}]}),
        (ChatBody, {"messages": [HELLO], "stop": [3] * 100_000}),
        (ChatBody, {"messages": [HELLO], "tools": [3] * 100_000}),
        (TextBody, {"prompt": [3] * 100_000}),
    ],
)
def test_of_a_hundred_thousand_errors_few_are_noted(body: Any, given: Any) -> None:
    with pytest.raises((ValidationError, ApiError)) as error:
        body.model_validate(given)
    assert isinstance(error.value, ApiError) or error.value.error_count() < 5


def test_models_of_the_chatbot_are_listed(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["chatbot", "chatbot/2", "chatbot/1"]
    assert client.get("/v1/models/chatbot/1").json()["id"] == "chatbot/1"
    for unknown in ("nope", "lengths", "%00", "x" * 300):
        answer = client.get(f"/v1/models/{unknown}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
