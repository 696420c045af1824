"""The gateway as people run it: a server process over a registry with a tiny model for every task."""

import http.client
import json
import signal
import socket
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import TASKS
from tests.support.gateway import sent_events
from tests.support.serving import Server, serving_gateway
from tests.support.words import until

PICTURE = {"inputs": {"prompt": "a lighthouse"}, "params": {"steps": 150, "width": 64, "height": 64, "seed": 1}}
CHAT = [{"role": "user", "content": "Hello there"}]
MOST_BODY = 1_000_000
TOKEN = "s3cret"
OWN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(filled_store: Path) -> Iterator[Server]:
    options = ("--memory_gb", "2", "--body_mb", str(MOST_BODY / 1e6))
    with serving_gateway(filled_store, *options, PROJECT_DL_TOKEN=TOKEN) as server:
        yield server


def ask(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """A request on a connection of its own: status, decoded answer, headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        if body is None:
            connection.request("GET", path, headers={**OWN, **headers})
        else:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, content, {"Content-Type": "application/json", **OWN, **headers})
        answer = connection.getresponse()
        content = answer.read()
        json_said = "json" in answer.getheader("content-type", "")
        return answer.status, json.loads(content) if json_said else content, dict(answer.getheaders())
    finally:
        connection.close()


def metric(server: Server, name: str) -> float:
    """A number of /metrics by its name and labels; 0 where it is not there."""
    lines = ask(server, "/metrics")[1].decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"project_dl_{name} ")), 0.0)


QUESTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "sentiment-analysis": ({"text": "A warm and clever film."}, {}, "label"),
    "summarization": ({"text": "The little dog ran home, wet and cold."}, {"max_length": 8, "num_beams": 1}, "summary"),
    "next-word-prediction": ({"text": "Once upon"}, {"top_k": 2}, "next_word"),
    "story-completion": ({"text": "Once upon a time"}, {"max_new_tokens": 8}, "completion"),
    "question-answering": ({"question": "Who?", "context": "Ada wrote it."}, {}, "answer"),
    "chatbot": ({"messages": CHAT}, {"max_new_tokens": 8}, "reply"),
    "image-generation": ({"prompt": "a cat"}, {"steps": 2, "width": 64, "height": 64}, "image"),
    "image-classification": ({"image": [[0, 128], [255, 0]]}, {}, "label"),
    "sequence-reversal": ({"sequence": [3, 1, 4]}, {"beam_width": 2}, "reversed"),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_registered_task_answers_whole_and_as_a_stream(server: Server, task: str) -> None:
    row, parameters, output = QUESTIONS[task]
    request = {"inputs": row, "params": parameters}
    if task == "image-classification":
        request["model"] = "cnn-digits"
    status, whole, _ = ask(server, f"/tasks/{task}", request)
    assert status == 200 and output in whole and {"model", "seconds"} <= set(whole)
    status, content, _ = ask(server, f"/tasks/{task}", {**request, "stream": True})
    *parts, (name, streamed) = sent_events(content)
    assert (status, name) == (200, "row") and all(part == "part" for part, _ in parts)
    if output != "image":  # drawn with another seed each time
        assert streamed[output] == whole[output]
    if pieces := [data["piece"] for _, data in parts if "piece" in data]:
        assert "".join(pieces) == whole[output]


def test_openais_client_holds_a_streamed_chat(server: Server) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key=TOKEN, max_retries=0)
    settings: Any = {"model": "chatbot", "max_tokens": 12, "temperature": 0.8, "top_p": 0.9, "seed": 3, "user": "me"}
    parts = [{"type": "text", "text": text} for text in ("Hello", "there")]
    messages: Any = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}]
    for _ in range(2):
        chunks = list(
            client.chat.completions.create(
                messages=messages, stream=True, stream_options={"include_usage": True}, **settings
            )
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        whole = client.chat.completions.create(messages=messages, **settings)
        assert whole.choices[0].message.content == said and said
        assert chunks[-1].usage == whole.usage and whole.usage and whole.usage.completion_tokens <= 12
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
        end = said[len(said) // 2 :][:2]
        stopped = client.chat.completions.create(messages=messages, stop=["is not said", end], **settings)
        assert stopped.choices[0].message.content == said[: said.index(end)]
        assert stopped.choices[0].finish_reason == "stop"
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "And then?"}]
    free = client.chat.completions.create(model="chatbot", messages=CHAT, temperature=0)  # type: ignore[arg-type]
    more = client.chat.completions.create(
        model="chatbot",
        messages=CHAT,
        temperature=0,
        max_completion_tokens=10**6,  # type: ignore[arg-type]
    )
    assert free.choices[0].message.content == more.choices[0].message.content
    begun = client.chat.completions.create(messages=[*CHAT, {"role": "assistant", "content": "Good"}], **settings)
    assert begun.usage and begun.usage.prompt_tokens > 0 and begun.choices[0].message.content
    assert "chatbot" in [model.id for model in client.models.list()]
    assert client.models.retrieve("chatbot/1").owned_by == "tiny qwen2"
    with pytest.raises(openai.BadRequestError, match="temperature is 9"):
        client.chat.completions.create(messages=messages, **{**settings, "temperature": 9})
    with pytest.raises(openai.NotFoundError, match="no registered model gpt-4"):
        client.chat.completions.create(messages=messages, **{**settings, "model": "gpt-4"})


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_worker(server: Server, stream: bool) -> None:
    warm = {**PICTURE, "params": {**PICTURE["params"], "steps": 10}}
    _, drawn, _ = ask(server, "/tasks/image-generation", warm)
    left = metric(server, 'requests_total{route="image-generation",status="499"}')
    body = json.dumps({**PICTURE, "stream": stream}).encode()
    head = "POST /tasks/image-generation HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        if stream:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        else:
            until(lambda: metric(server, "worker_busy") == 1)
    started = time.monotonic()
    until(lambda: metric(server, "worker_busy") == 0)
    # 150 steps would take fifteen times as long as the ten before.
    assert time.monotonic() - started < 5 * drawn["seconds"] + 1
    assert metric(server, 'requests_total{route="image-generation",status="499"}') == left + 1


def test_a_hundred_megabytes_are_refused_at_once(server: Server) -> None:
    memory = psutil.Process(server.process.pid).memory_info().rss
    started = time.monotonic()
    status, told, _ = ask(server, "/tasks/chatbot", b" " * 100_000_000)
    assert (status, told["error"]["code"]) == (413, "body_too_large")

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000_000

    # In chunks, which do not say how much will come.
    headers = {"Content-Type": "application/json", **OWN}
    request = urllib.request.Request(f"{server.address}/tasks/chatbot", endless(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 413
    assert time.monotonic() - started < 30
    assert psutil.Process(server.process.pid).memory_info().rss - memory < 50_000_000
    assert ask(server, "/healthz")[0] == 200


def test_many_rows_are_one_request(server: Server) -> None:
    rows = [{"text": f"A film of {number} hours."} for number in range(40)]
    status, answer, _ = ask(server, "/tasks/sentiment-analysis", {"inputs": rows})
    assert status == 200 and len(answer) == 40
    status, told, _ = ask(server, "/tasks/sentiment-analysis", {"inputs": [*rows, {"text": ""}]})
    assert status == 400 and told["error"]["message"].startswith("inputs[40]: text is empty")


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.full)])
def test_a_crowd_is_served_in_order(server: Server, seconds: float, clients: int = 32) -> None:
    """Many clients at once for some seconds: none hears an error but 429, none is served much less, memory is kept."""
    questions = [
        ("sentiment-analysis", {"inputs": {"text": "A warm film."}}),
        ("story-completion", {"inputs": {"text": "Once"}, "params": {"max_new_tokens": 4}}),
        ("chatbot", {"inputs": {"messages": CHAT}, "params": {"max_new_tokens": 4}, "stream": True}),
        ("sequence-reversal", {"inputs": {"sequence": [3, 1, 4]}}),
    ]
    process = psutil.Process(server.process.pid)
    for task, body in questions:  # torch comes with the first model that needs it
        assert ask(server, f"/tasks/{task}", body)[0] == 200
    before, most = process.memory_info().rss, 0
    end = time.monotonic() + seconds
    served: list[int] = [0] * clients
    statuses: list[int] = []
    answered = threading.Condition()

    def keep_asking(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            task, body = questions[turn % len(questions)]
            status, answer, headers = ask(server, f"/tasks/{task}", body)
            statuses.append(status)
            if status == 200:
                assert b"event: error" not in answer if isinstance(answer, bytes) else answer["model"]
                served[number] += 1
                turn += 1
                with answered:
                    answered.notify_all()
            else:
                with answered:  # then there is room in the queue
                    answered.wait(float(headers["retry-after"]))

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            most = max(most, process.memory_info().rss)
            thread.join(0.05)
    print(
        f"{clients} clients, {seconds:g} s: {sum(served)} answers, from {min(served)} to {max(served)} a client, "
        f"{statuses.count(429)} times 429, {(most - before) / 1e6:.0f} MB more"
    )
    assert set(statuses) <= {200, 429}
    mean = statistics.mean(served)
    assert mean >= 2 and max(abs(count - mean) for count in served) <= max(2, 0.25 * mean)
    assert metric(server, "model_budget_bytes") == 2e9
    assert most - before < 500_000_000


@pytest.mark.full
def test_no_request_of_schemathesis_breaks_the_server(server: Server, tries: int = 60) -> None:
    """Requests that fit the OpenAPI document, and ones that do not: no 5xx, and no answer that it does not describe."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import checks
    from schemathesis.checks import not_a_server_error

    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json", headers=OWN)
    wanted: Any = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    limits = settings(
        max_examples=tries,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/tasks/image-generation":
            continue  # 150 steps of 1536 x 1536 pixels are valid, and take a CPU an hour
        for mode in schemathesis.GenerationMode:

            @limits
            @given(case=operation.as_strategy(generation_mode=mode))
            def each(case: Any) -> None:
                nonlocal asked
                case.call_and_validate(checks=wanted, headers=OWN)
                asked += 1

            if mode.is_positive or operation.body:  # elsewhere nothing can be wrong
                each()
    assert asked > 20 * tries / 2
    assert ask(server, "/healthz")[0] == 200


def test_a_wrong_token_is_refused_and_the_right_one_is_nowhere_to_be_seen(server: Server) -> None:
    for given in ("Bearer wrong", "", f"Basic {TOKEN}"):
        status, told, headers = ask(server, "/tasks", Authorization=given)
        assert (status, told["error"]["code"], headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
    assert ask(server, "/healthz", Authorization="")[0] == 200
    assert TOKEN not in " ".join(psutil.Process(server.process.pid).cmdline())


def test_at_the_end_a_signal_ends_streams_and_the_process(server: Server) -> None:
    # The last test of this server.
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    body = json.dumps({**PICTURE, "stream": True})
    connection.request("POST", "/tasks/image-generation", body, {"Content-Type": "application/json", **OWN})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.readline().startswith(b"event: part")
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    *_, (name, told) = sent_events(b"event: part\n" + answer.read())
    assert (name, told["error"]["code"]) == ("error", "stopped")
    assert server.process.wait(timeout=30) in (0, -signal.SIGTERM)
    assert time.monotonic() - started < 15
