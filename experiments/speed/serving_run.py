"""Measuring our layers' cost: bare call, `predict` and `predict_stream` in turns, on one model in memory."""

import base64
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from experiments.config import ConfigError, names_in
from experiments.config.programs import OverheadConfig
from experiments.evaluation.examples import FIRST_PARAMETERS, INPUT_EXAMPLES
from experiments.speed.serving_baseline import BARE, STREAMED
from experiments.speed.serving_report import Case, FirstPiece, OverheadResult
from experiments.tracking.run import tracked_run
from tasks import registry
from tasks.engines.causal import CausalModel
from tasks.registry import ModelNotFoundError
from tasks.runtime.memory import give_memory_back

RANDOM_TASKS = ("sentiment-analysis", "question-answering", "summarization", "story-completion")
LONG_NAME = "long story, random GPT-2"


@dataclass(frozen=True)
class Subject:
    """What is measured: a model as MLflow loads it, and a request."""

    name: str
    model: Any
    task: Any
    row: Mapping[str, Any]
    parameters: Mapping[str, Any]
    repeats: int
    long: bool = False

    def bare(self, **changes: Any) -> str:
        """The answer of the model without MLflow and this project, on the very same weights."""
        given = self.task.check_parameters({**self.parameters, **changes})
        return BARE[self.task.name][0](self.task, self.row, given)

    def predict(self) -> str:
        [answer] = self.model.predict([dict(self.row)], params=dict(self.parameters))
        return answer[BARE[self.task.name][1]]

    def stream(self) -> Iterator[Mapping[str, Any]]:
        return self.model.predict_stream(dict(self.row), params=dict(self.parameters))


def measure_overhead(config: OverheadConfig) -> OverheadResult:
    """Measure the models that the configuration names. Raises ConfigError for those that cannot be measured."""
    if config.threads:
        torch.set_num_threads(config.threads)
    subjects = _random(config) if config.models == "auto" else _registered(config)
    cases = []
    for subject in subjects:
        print(f"{subject.name}: {subject.repeats} turns", flush=True)
        cases.append(_case(subject))
        del subject
        give_memory_back()
    return OverheadResult(tuple(cases), torch.get_num_threads())


def _registered(config: OverheadConfig) -> Iterator[Subject]:
    found = []
    for name in filter(None, (part.strip() for part in config.models.split(","))):
        try:
            version = registry.find(name)
        except ModelNotFoundError as error:
            raise ConfigError(f"models names {name[:80]!r}: {error}") from error
        if version.task not in BARE:
            raise ConfigError(
                f"models names {version.key} for {version.task}, which has no bare call to compare with; "
                f"valid: models for {', '.join(BARE)}"
            )
        found.append(version)
    if not found:
        raise ConfigError(f"models is {config.models!r}, which names nothing; valid: auto, or registered models")
    return (_subject(one.key, f"models:/{one.key}", one.task, config.repeats) for one in found)


def _random(config: OverheadConfig) -> Iterator[Subject]:
    """Random models, each made, packaged and loaded when its turn comes."""
    tasks = names_in("tasks", config.tasks, RANDOM_TASKS, {}, ",".join(RANDOM_TASKS))
    return _made(config, tasks)


def _made(config: OverheadConfig, tasks: list[str]) -> Iterator[Subject]:
    from experiments.starters import random_models

    with store_for_now() as folder:
        for task in tasks:
            random_models.save_tiny(task, folder / task / "model")
            uri = _packaged(task, f"tiny random {task}", folder / task / "model")
            yield _subject(f"tiny {task}", uri, task, config.repeats)
        if config.long_tokens:
            random_models.save_language_model(folder / "long" / "model")
            uri = _packaged("story-completion", LONG_NAME, folder / "long" / "model")
            name = f"{LONG_NAME}, {config.long_tokens} tokens"
            yield _subject(name, uri, "story-completion", config.long_repeats, config.long_tokens)


def _packaged(task: str, name: str, folder: Path) -> str:
    with tracked_run("overhead") as tracker, tracker.active(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        return registry.package("model", task, folder, name).model_uri


@contextlib.contextmanager
def store_for_now() -> Iterator[Path]:
    """A folder with an MLflow store of its own, both gone afterwards: measuring leaves nothing in the user's."""
    usual = os.environ.get("MLFLOW_TRACKING_URI")
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{temporary}/mlflow.db"
        try:
            yield Path(temporary)
        finally:
            if usual is None:
                del os.environ["MLFLOW_TRACKING_URI"]
            else:
                os.environ["MLFLOW_TRACKING_URI"] = usual


def _subject(name: str, uri: str, task: str, repeats: int, long_tokens: int = 0) -> Subject:
    model = registry.load_pyfunc(uri)
    row = {"image": _picture()} if task == "image-classification" else INPUT_EXAMPLES[task]
    parameters = {"max_new_tokens": long_tokens} if long_tokens else FIRST_PARAMETERS.get(task, {})
    # The very model that MLflow loaded: another copy would lie elsewhere in memory, and twice the size.
    own = model.unwrap_python_model().task
    if not isinstance(getattr(own, "engine", None), CausalModel | None):
        raise ConfigError(
            f"models names {name}, which runs on llama.cpp; valid: models that transformers or torch runs"
        )
    return Subject(name, model, own, row, parameters, repeats, bool(long_tokens))


def _picture() -> str:
    """A picture as clients send it: a PNG in base64."""
    buffer = io.BytesIO()
    Image.new("L", (32, 32)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _case(subject: Subject) -> Case:
    calls: dict[str, Callable[[], Any]] = {"bare": subject.bare, "predict": subject.predict}
    streams = subject.task.name in STREAMED
    if streams:
        calls["stream"] = lambda: list(subject.stream())
    same = subject.bare().strip() == subject.predict().strip()
    seconds = in_turns(calls, subject.repeats)
    first = _first_pieces(subject) if streams else None
    return Case(subject.name, subject.long, same, seconds["bare"], seconds["predict"], seconds.get("stream", ()), first)


def in_turns(calls: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, tuple[float, ...]]:
    """Seconds of each call in every turn; who begins changes from turn to turn. One turn before does not count."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, turns):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            started = time.perf_counter()
            calls[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
    return {name: tuple(values) for name, values in seconds.items()}


def _first_pieces(subject: Subject) -> FirstPiece:
    """When the first piece of a stream is read, and when the model had computed its first token."""
    passes: list[float] = []
    length = "max_length" if subject.task.name == "summarization" else "max_new_tokens"
    pieces, tokens, bare = [], [], []
    handle = getattr(subject.task, "engine", subject.task).model.register_forward_hook(
        lambda *_: passes.append(time.perf_counter())
    )
    try:
        for turn in range(-1, subject.repeats):
            passes.clear()
            started = time.perf_counter()
            stream = subject.stream()
            next(stream)
            read = time.perf_counter()
            computed = passes[0]
            for _ in stream:  # to its end: a stream that is dropped waits for its model
                pass
            alone = time.perf_counter()
            subject.bare(**{length: 1})
            if turn >= 0:
                pieces.append(read - started)
                tokens.append(computed - started)
                bare.append(time.perf_counter() - alone)
    finally:
        handle.remove()
    return FirstPiece(tuple(pieces), tuple(tokens), tuple(bare))
