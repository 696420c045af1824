"""Registering folders: as other programs leave them, and those that are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from experiments import register
from experiments.config import ConfigError, TrainingError
from experiments.registration import choice
from tasks import registry, task_class
from tests.support.registering import COMMIT, OUTPUTS, TINY, Folders, champion, model_files, one_line


def clone(folder: Path, tmp_path: Path) -> Path:
    """What `git clone` makes of a repository of the Hub: a model with all that is for other programs, and Git's own."""
    cloned = tmp_path / "cloned"
    shutil.copytree(folder, cloned)
    others = (
        "LICENSE", "README.md", ".gitattributes", ".git/HEAD", ".git/hooks/pre-commit.sample", ".git/objects/ab/cd.py",
        ".cache/huggingface/download/x.metadata", "pytorch_model.bin", "pytorch_model.bin.index.json", "rust_model.ot",
        "tf_model.h5", "flax_model.msgpack", "training_args.bin", "64.tflite", "map.jpeg", "onnx/model.onnx",
        "onnx/config.json", "coreml/weights/weight.bin",
    )  # fmt: skip
    for name in others:
        (cloned / name).parent.mkdir(parents=True, exist_ok=True)
        (cloned / name).write_bytes(b"never loaded, never copied")
    (cloned / ".git" / "link").symlink_to("/")
    return cloned


@pytest.mark.parametrize("task", ["story-completion", "image-generation"])
def test_a_git_clone_of_a_repository_of_the_hub_is_registered(
    task: str, store: Path, tiny: Folders, tmp_path: Path
) -> None:
    model = tiny(TINY[task])
    cloned = clone(model, tmp_path)
    register.main(["--task", task, "--model", str(cloned), "--evaluate", "false"])
    shutil.rmtree(cloned)
    loaded = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    index = {"pytorch_model.bin.index.json"}  # JSON, which nothing reads: its shards are not there
    assert model_files(task) - index == loaded | {"task.json"}
    [row] = mlflow.pyfunc.load_model(f"models:/{task}@champion").predict(
        [task_class(task).example], params=task_class(task).example_parameters
    )
    assert isinstance(row[OUTPUTS[task]], str)


@pytest.mark.parametrize("task", ["story-completion", "image-generation"])
def test_a_snapshot_in_the_cache_of_the_hub_is_registered_as_a_folder(
    task: str, store: Path, tiny: Folders, tmp_path: Path
) -> None:
    model, repository = tiny(TINY[task]), tmp_path / "cache" / "models--some--model-name"
    snapshot = repository / "snapshots" / COMMIT
    files = [path.relative_to(model) for path in model.rglob("*") if path.is_file()]
    (repository / "blobs").mkdir(parents=True)
    for number, name in enumerate([*files, Path("pytorch_model.bin"), Path(".gitattributes"), Path("LICENSE")]):
        blob, link = repository / "blobs" / f"{number:040x}", snapshot / name
        blob.write_bytes((model / name).read_bytes() if name in files else b"never loaded, never copied")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (len(name.parts) + 1), "blobs", blob.name))
    register.main(["--task", task, "--model", str(snapshot), "--evaluate", "false"])
    shutil.rmtree(repository)
    assert champion(task).tags["model"] == "some/model-name"
    assert model_files(task) == {*(path.as_posix() for path in files), "task.json"}
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{task}@champion")) / "artifacts" / "model"
    assert not [path for path in place.rglob("*") if path.is_symlink()]
    [row] = mlflow.pyfunc.load_model(f"models:/{task}@champion").predict(
        [task_class(task).example], params=task_class(task).example_parameters
    )
    assert isinstance(row[OUTPUTS[task]], str) and row["model"] == "some/model-name"


def test_an_index_of_weights_that_names_a_pickle_is_refused_before_any_run(
    store: Path, tiny: Folders, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "model"))
    (folder / "model.safetensors").rename(folder / "weights.txt")
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "weights.txt"}}')
    with pytest.raises(ConfigError, match=r"names 'weights\.txt'"):
        register.main(["--task", "story-completion", "--model", str(folder)])
    assert MlflowClient().get_experiment_by_name("register") is None


@pytest.mark.parametrize("spoiled", ["tokenizer.pkl", "modeling.py", "pytorch_model.bin", "link"])
def test_a_folder_with_pickles_code_or_links_out_of_it_is_refused(
    spoiled: str, store: Path, tiny: Folders, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("gpt2"), tmp_path / "model"))
    if spoiled == "link":
        (tmp_path / "secret.json").write_text("{}")
        (folder / "extra.json").symlink_to(tmp_path / "secret.json")
        spoiled = "extra.json points out of the model's folder"
    elif spoiled == "pytorch_model.bin":  # in the place of safetensors
        (folder / "model.safetensors").rename(folder / spoiled)
    else:
        (folder / spoiled).write_bytes(b"import os")
    with pytest.raises(ConfigError, match=spoiled):
        register.main(["--task", "story-completion", "--model", str(folder)])
    assert registry.champion("story-completion") is None


def test_a_model_for_another_task_is_not_registered(
    store: Path, tiny: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match="1 of 1 tasks failed: question-answering"):
        register.main(["--task", "question-answering", "--model", str(tiny("distilbert-sentiment"))])
    line = one_line(capsys, "question-answering")
    assert "tiny-distilbert-sentiment does not hold a model for this task: its weights lack qa_outputs" in line
    assert registry.champion("question-answering") is None
    experiment = MlflowClient().get_experiment_by_name("register")
    assert experiment is not None
    [run] = MlflowClient().search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED" and "qa_outputs" in run.data.tags["error"]


def test_a_folder_that_stands_for_a_model_on_the_hub_is_registered_as_that(
    store: Path, hub: Callable[[str, str], Path], tmp_path: Path
) -> None:
    hub("someone/model", "gpt2")
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "source.json").write_text('{"hub_id": "someone/model", "revision": "main"}')
    register.main(["--task", "next-word-prediction", "--model", "../" + tmp_path.name + "/reference"])
    tags = champion("next-word-prediction").tags
    assert (tags["hub_id"], tags["revision"], tags["packaged"]) == ("someone/model", COMMIT, "false")


@pytest.mark.parametrize(("model", "reason"), [("~nosuchuser/x", "home directory"), ("x" * 300, "File name too long")])
def test_a_folder_that_cannot_be_looked_at_is_one_clear_error(model: str, reason: str) -> None:
    expected = f"model is '{model[:50]}.*, which cannot be read: .*{reason}.*; valid for chatbot"
    with pytest.raises(ConfigError, match=expected):
        choice.choose("chatbot", model, None)


def test_a_folder_without_permission_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(choice, "check_folder", forbidden)
    with pytest.raises(ConfigError, match="which cannot be read: Permission denied; valid for chatbot"):
        choice.choose("chatbot", str(tmp_path), None)
