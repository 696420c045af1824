"""Registering pretrained models: each task in a run of its own, so that one that fails holds up no other."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.config import ConfigError, RegisterConfig, TrainingError
from experiments.evaluation.tasks import TASK_METRICS, NoMetricError, evaluate, sample_rows
from experiments.registration.choice import AUTO, ChosenModel
from experiments.registration.folder import Origin, make_folder
from experiments.registration.promotion import decide, score_tags
from experiments.registration.report import Outcome, RegisterResult
from experiments.tracking.run import Tracker, git_commit, tracked_run
from tasks import open_task, registry, task_class
from tasks.base import ModelFolderError, Task, TaskInputError, first_line
from tasks.disk import full_disk
from tasks.engines.devices import pick_device
from tasks.runs import StoreUnreachableError
from tasks.runtime.memory import give_memory_back, modules_of

EXPERIMENT = "register"
ARTIFACT = "model"


def register(config: RegisterConfig, chosen: Mapping[str, ChosenModel]) -> RegisterResult:
    """Register the chosen model of each task, and print what happened.

    Raises ConfigError before any run for a device that is not there, and TrainingError at the end if a task was not
    registered; the others then are.
    """
    try:
        pick_device(config.device)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    # Several tasks are nested under one run; a single one is the run.
    several = len(chosen) > 1
    with tracked_run(EXPERIMENT) if several else nullcontext() as parent:
        if parent is not None:
            tags = {"task": "all", "git_commit": git_commit()}
            parent.start("all tasks", "Pretrained models, one for each task.", _params(config), tags)
        outcomes = []
        for number, (task, choice) in enumerate(chosen.items(), start=1):
            print(f"[{number}/{len(chosen)}] {task}: {_words(choice)}", flush=True)
            outcomes.append(_outcome(task, choice, config, parent.run_id if parent else None))
            give_memory_back()
        result = RegisterResult(tuple(outcomes))
        print(result.table())
        result.check()
    return result


def _params(config: RegisterConfig) -> dict[str, Any]:
    """The configuration as the user would type it."""
    return {name: AUTO if value is None else value for name, value in config.model_dump().items()}


def _words(choice: ChosenModel) -> str:
    if choice.entry:
        return f"{choice.name} ({choice.entry.size()})"
    local = "folder" if choice.folder else "GGUF file" if choice.file else ""
    place = "it comes with the project" if choice.starter else local or "Hugging Face Hub"
    return f"{choice.name} ({place})"


def _outcome(task: str, choice: ChosenModel, config: RegisterConfig, parent: str | None) -> Outcome:
    """Register one task; whatever prevents it is reported in one line and kept in its run, which is FAILED."""
    started = time.perf_counter()
    try:
        with tracked_run(EXPERIMENT, parent=parent) as tracker:
            outcome = _register(task, choice, config, tracker)
    except Exception as error:  # libraries, networks and disks fail in many ways, and the other tasks continue
        failure = _reason(error) if isinstance(error, _UnfinishedError) else f"not registered: {_reason(error)}"
        if parent is not None:  # of a single task the table says it at once
            _say(failure)
        return Outcome(task, choice.name, time.perf_counter() - started, failure=failure)
    return replace(outcome, seconds=time.perf_counter() - started)


class _UnfinishedError(TrainingError):
    """What was to be done with a version after it had been registered failed."""


@contextmanager
def _registered(task: str, version: str) -> Iterator[None]:
    """Have errors say that a version is in the registry all the same."""
    try:
        yield
    except Exception as error:
        raise _UnfinishedError(f"version {version} of {task} is registered, but then: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, (ModelFolderError, TaskInputError, TrainingError, StoreUnreachableError)):
        return first_line(error)
    return full_disk(error) or f"{type(error).__name__}: {first_line(error)}"


def _register(task: str, choice: ChosenModel, config: RegisterConfig, tracker: Tracker) -> Outcome:
    params = {**_params(config), "task": task, "model": choice.name}
    tracker.start(
        f"{task}: {choice.name}", f"`{choice.name}` for {task}.", params, {"task": task, "model": choice.name}
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / ARTIFACT
        with _timed("weights ready"):
            origin = make_folder(choice, task, folder, config.package_weights)
        loaded, facts = _first_answer(folder, choice.name, origin, config.device)
        scores = _scores(loaded, config.evaluate)
        parameters = _count_parameters(loaded)
        tags = {
            "task": task,
            "model": choice.name,
            **origin.tags(),
            "parameters": str(parameters),
            "memory_bytes": str(loaded.memory_bytes()),
            "git_commit": git_commit(),
            **score_tags(task, scores),
            **_chat_tags(loaded),
        }
        del loaded  # packaging loads the model again
        give_memory_back()
        with _timed("in the registry"):
            version = _into_registry(task, choice, folder, tags, {**facts, **scores}, tracker)
    with _registered(task, version):
        with tracker.timed():
            champion, decision = decide(task, version, bool(scores), config.champion)
        if champion:
            _say(decision)
        tracker.describe(f"{_description(task, choice, origin, version)}\n\n{decision}.", tags)
    metric = TASK_METRICS[task].headline if scores else ""
    score = f"{metric} {scores[metric]:.3f}, n={scores['examples']:.0f}" if scores else ""
    return Outcome(task, choice.name, 0.0, version, parameters, score, champion, origin.packaged, decision)


def _first_answer(folder: Path, name: str, origin: Origin, device: str) -> tuple[Task, dict[str, float]]:
    """The loaded task, which has answered its input example, and how long both took."""
    loaded = open_task(folder, device)
    started = time.perf_counter()
    try:
        with _timed("loaded"):
            loaded.load()
    except ModelFolderError as error:
        # A temporary folder, or a place in the Hub's cache: the model's name says more.
        raise ModelFolderError(str(error).replace(str(folder), name).replace(str(origin.weights), name)) from error
    ready = time.perf_counter()
    with _timed("answered its input example"):
        loaded.run([loaded.example], loaded.example_parameters)
    return loaded, {"load_seconds": ready - started, "first_answer_seconds": time.perf_counter() - ready}


def _chat_tags(loaded: Any) -> dict[str, str]:
    """Tags of a chatbot: its default system prompt, and that its model knows no form of
    conversations, which is reported, too."""
    if loaded.name != "chatbot":
        return {}
    told = {"system_prompt": loaded.system} if loaded.system else {}
    if loaded.engine.has_chat_template:
        return told
    _say("it has no chat template: it continues the messages as plain text")
    return {"chat_template": "none", **told}


def _scores(loaded: Task, wanted: bool) -> dict[str, float]:
    """Metrics on the task's own sample; empty where there is none, or none that makes sense for the model."""
    rows = sample_rows(loaded.name)
    if not (wanted and rows):
        return {}
    try:
        with _timed(f"answered {len(rows)} labeled rows"):
            return evaluate(loaded, rows)
    except (NoMetricError, TaskInputError) as error:  # such as a window too small for the default lengths
        _say(f"not measured: {error}")
        return {}


def _into_registry(
    task: str,
    choice: ChosenModel,
    folder: Path,
    tags: dict[str, str],
    metrics: dict[str, float],
    tracker: Tracker,
) -> str:
    """Package and register the folder; the new version."""
    with tracker.timed(), tracker.active():
        info = registry.package(
            ARTIFACT,
            task,
            folder,
            choice.name,
            input_example=task_class(task).example,
            example_parameters=task_class(task).example_parameters,
            tags=tags,
        )
    tracker.log_final(metrics, step=0, model_id=info.model_id)
    with tracker.timed():
        return str(registry.register(info.model_uri, task, tags).version)


def _count_parameters(task: Any) -> int:
    """Parameters of all networks of a loaded task; those that are shared count once."""
    if hasattr(task, "engine"):
        return task.engine.parameters
    networks = task.pipelines.modules if hasattr(task, "pipelines") else modules_of(vars(task).values())
    return sum({id(weight): weight.numel() for network in networks for weight in network.parameters()}.values())


def _description(task: str, choice: ChosenModel, origin: Origin, version: str) -> str:
    elsewhere = f"the package `{origin.package}`" if origin.package else "the Hub's cache"
    place = "its weights are in the registry" if origin.packaged else f"its weights are read from {elsewhere}"
    where = f"[{origin.hub_id}](https://huggingface.co/{origin.hub_id}) at `{origin.revision}`"
    local = "a folder" if choice.folder else "a GGUF file" if choice.file or origin.package else ""
    model = f"`{choice.name}`, {local}" if local else where
    return f"Version {version} of `{task}`: {model}; license: {origin.license}; {place}."


@contextmanager
def _timed(done: str) -> Iterator[None]:
    """Say what was done and how long it took, if it was."""
    started = time.perf_counter()
    yield
    _say(f"{done} ({time.perf_counter() - started:.1f} s)")


def _say(words: str) -> None:
    print(f"      {words}", flush=True)
