"""A gateway that serves GGUF alone brings no torch along, and finds the model to warm where MLflow wrote it."""

import subprocess
import sys
from pathlib import Path

import mlflow

from tasks import TASKS, registry
from tasks.serve.warming import champion_folder
from tests.support.tiny_gguf import save_both

PROGRAM = """
import http.client, json, sys, threading
from tasks.serve import __main__, server

listening = __main__.listen("127.0.0.1", 0)
__main__.listen = lambda *_: listening
sys.setswitchinterval = lambda _: None
thread = threading.Thread(target=__main__.main, args=([],), daemon=True)
thread.start()


def ask(path, body=None):
    connection = http.client.HTTPConnection(*listening.getsockname(), timeout=120)
    headers = {"Content-Type": "application/json"}
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
    answer = json.load(connection.getresponse())
    connection.close()
    return answer


chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
print(ask("/v1/chat/completions", chat)["usage"]["completion_tokens"])
print(len(ask("/tasks")), len(ask("/openapi.json")["paths"]) > 10)
heavy = ("torch", "transformers", "torchvision", "diffusers", "sklearn")
print([name for name in heavy if name in sys.modules], "xllamacpp" in sys.modules)
"""


def test_a_gateway_that_serves_gguf_alone_imports_no_torch(store: Path) -> None:
    _, file = save_both(store)
    file.parent.rename(store / "model")
    with mlflow.start_run():
        info = registry.package("model", "chatbot", store / "model", "tiny")
    version = registry.register(info.model_uri, "chatbot", {"task": "chatbot", "model": "tiny"})
    assert champion_folder("chatbot") is None
    registry.promote("chatbot", version.version)
    found = champion_folder("chatbot")
    assert found is not None and found.samefile(registry.model_folder(registry.find("chatbot")))
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=store, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-3:] == ["3", f"{len(TASKS)} True", "[] True"], done.stdout + done.stderr
