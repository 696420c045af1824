"""llama.cpp's server in the process: who reaches it, its threads, several askers at once, its end."""

import contextlib
import http.client
import os
import shutil
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from tasks.base import ModelFolderError
from tasks.engines import llama, llama_adaptive, llama_server
from tasks.engines.threads import NICENESS
from tests.support.tiny_gguf import save_both
from tests.support.tiny_models import opened

STORY, WORDS, CHAT = "story-completion", "next-word-prediction", "chatbot"
PROMPT = {"text": "Once upon a time"}
GREEDY = {"temperature": 0, "max_new_tokens": 20}


def test_one_file_behind_several_tasks_is_loaded_once_and_freed_with_the_last(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(both[1], tmp_path / "model")
    first: Any = opened(folder, STORY)
    second: Any = opened(folder, WORDS)
    assert first.engine is second.engine
    size = (folder / "tiny.gguf").stat().st_size
    assert first.memory_bytes() > size
    place = Path(first.engine.server.running.address.removeprefix("unix://"))
    assert place.exists()
    del first
    assert place.exists()
    del second
    assert not place.parent.exists()


@pytest.fixture
def on_a_port(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model whose server listens on a port, as where the system has no sockets in files."""
    monkeypatch.setattr(llama_server, "LONGEST_NAME", 0)
    model = llama.LlamaModel(both[1] / "tiny.gguf", "cpu")
    assert model.server.running.address.startswith("http://127.0.0.1:")
    return model


def test_nobody_else_is_answered_on_the_port(on_a_port: Any) -> None:
    address = on_a_port.server.running.address.removeprefix("http://")
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("POST", "/completion"),
        ("POST", "/tokenize"),
        ("GET", "/slots"),
        ("GET", "/props"),
        ("GET", "/v1/models"),
    ):
        connection = http.client.HTTPConnection(address)
        connection.request(method, path, "{}" if method == "POST" else None, {"Authorization": "Bearer wrong"})
        assert connection.getresponse().status == 401, path
        connection.close()
    connection = http.client.HTTPConnection(address)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404
    connection.close()
    assert on_a_port.encode("The little dog")  # with its key


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the system has no sockets in files")
def test_no_port_is_opened_where_there_is_a_better_way(story: Any) -> None:
    place = Path(story.engine.server.running.address.removeprefix("unix://"))
    assert place.is_socket() and place.parent.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the system has no sockets in files")
def test_a_server_that_hangs_is_a_line(story: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = story.engine.server.running
    silent = server._socket.with_name("silent.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(silent))
        listening.listen()
        monkeypatch.setattr(server, "_socket", silent)
        monkeypatch.setattr(llama_server, "SILENCE_S", 0.05)
        with pytest.raises(ModelFolderError, match=r"llama\.cpp has not answered /tokenize for 0\.05 s"):
            story.engine.encode("Once")


def test_threads_follow_what_others_leave_free(both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_adaptive, "usable_cores", lambda: 4)
    model = llama.LlamaModel(both[1] / "tiny.gguf", "cpu")
    tokens = model.encode("Once upon a time")
    texts, parameters = [], {**GREEDY, "max_new_tokens": 4, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    for others, expected in ((0.1, 4), (2.9, 1), (2.1, 2), (None, 2), (9.0, 1)):
        monkeypatch.setattr(model.server._load, "cores", lambda others=others: others)
        order = {**parameters, "seed": 0, "stop": ""}
        texts.append(model.write(tokens, order, lambda _event: None, lambda: False, continues=True).text)
        assert model.server.running.threads == expected
    assert len(set(texts)) == 1 and texts[0]


def test_a_server_is_not_made_anew_for_a_thread_that_comes_and_goes(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_adaptive, "usable_cores", lambda: 8)
    monkeypatch.setattr(llama_adaptive.OtherLoad, "cores", lambda _self: 0.0)
    model = llama.LlamaModel(both[1] / "tiny.gguf", "cpu")
    tokens, found = model.encode("Once"), []
    for others in (0.5, 0.1, 0.5, 0.1, 0.1, None, 0.1):
        monkeypatch.setattr(model.server._load, "cores", lambda others=others: others)
        model.read(tokens)([()])
        found.append(model.server.running.threads)
    assert found == [7, 7, 7, 7, 7, 7, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows how nice a thread is")
def test_who_writes_leaves_more_of_a_busy_core_to_others(both: tuple[Path, Path]) -> None:
    def patient() -> int:
        count = 0
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                count += os.getpriority(os.PRIO_PROCESS, int(thread.name)) == own + NICENESS
        return count

    own = os.getpriority(os.PRIO_PROCESS, 0)
    before = patient()
    model = llama.LlamaModel(both[1] / "tiny.gguf", "cpu")
    assert patient() > before
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    del model


def test_who_asks_while_the_server_is_made_anew_waits_for_it(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_adaptive, "usable_cores", lambda: 4)
    model = llama.LlamaModel(both[1] / "tiny.gguf", "cpu")
    tokens, serve, asked = model.encode("Once"), model.server._serve, []
    monkeypatch.setattr(model.server._load, "cores", lambda: 9.0 if model.server._threads > 1 else 0.1)
    with ThreadPoolExecutor(1) as other:

        def slowly() -> llama_server.LlamaServer:
            asked.append(other.submit(model.encode, "Once"))
            wait(asked, timeout=0.2)
            if len(asked) == 1:
                raise ModelFolderError("the file is away for a moment")
            return serve()

        monkeypatch.setattr(model.server, "_serve", slowly)
        with pytest.raises(ModelFolderError, match="away for a moment"):
            model.read(tokens)([()])
        assert [future.result() for future in asked] == [tokens] * len(asked)


def test_several_threads_may_ask_at_once(story: Any) -> None:
    expected = story.run([PROMPT], GREEDY)[0]["completion"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda row: story.run([row], GREEDY)[0]["completion"], [PROMPT] * 4))
    assert found == [expected] * 4


def test_each_of_several_has_the_whole_window(story: Any) -> None:
    room = story.window - 20
    texts = [f"{name} ran home. " * 60 for name in ("The dog", "A cat", "Ada")]
    alone = [story.run([{"text": text}], GREEDY)[0] for text in texts]
    with ThreadPoolExecutor(len(texts)) as threads:
        together = list(threads.map(lambda text: story.run([{"text": text}], GREEDY)[0], texts))
    assert [row["prompt_tokens"] for row in together] == [room] * 3
    assert [row["completion"] for row in together] == [row["completion"] for row in alone]
    assert {row["tokens"] for row in together} == {20}


def test_several_answers_come_also_where_other_conversations_fill_the_memory(tmp_path: Path) -> None:
    file = save_both(tmp_path, window=256)[1]
    story, chat = (opened(file.parent, task) for task in (STORY, CHAT))
    texts = [f"{name} ran home. " * 60 for name in ("The dog", "A cat", "Ada", "He")]
    with ThreadPoolExecutor(len(texts)) as threads:
        list(threads.map(lambda text: story.run([{"text": text}], GREEDY), texts))
    never_ends = [[token, -100] for token in chat.engine.control]
    messages = [{"role": "user", "content": "Who are you?"}]
    order = {"messages": messages, "n": 4, "logit_bias": never_ends}
    parameters = chat.check_parameters({"temperature": 1, "max_new_tokens": 200})
    _, choices = chat.engine.chat(order, messages, parameters, lambda _event: None, lambda: False)
    assert [choice.finish_reason for choice in choices] == ["length"] * 4


def test_who_leaves_takes_nobody_along(story: Any) -> None:
    expected = story.run([PROMPT], GREEDY)[0]["completion"]
    stay, leave = story.stream(PROMPT, GREEDY), story.stream({"text": "The little dog"}, GREEDY)
    pieces = [next(stay)["piece"], next(leave)["piece"]][:1]
    leave.close()
    *rest, row = stay
    assert "".join(pieces + [event["piece"] for event in rest]) == row["completion"] == expected
