"""Weights of the Hub and its cache, safetensors only; what cannot be had is said in one line. Devices and memory."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import nn

from experiments.training.devices import resolve_device
from tasks.base import ModelFolderError
from tasks.engines.devices import pick_device
from tasks.engines.loading import pick_dtype
from tasks.hub.source import Source, weights_folder, write_source
from tasks.runtime.memory import memory_bytes
from tests.support.local_hub import LocalHub, local_hub, use_in_process
from tests.support.model_folders import Evil
from tests.support.tiny_models import opened

TINY = "someone/tiny"
CPU = torch.device("cpu")
Folders = Callable[[str], Path]


def sentence(error: pytest.ExceptionInfo[ModelFolderError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def hub(tiny_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub of our own with one model, in the place of the real one, and an empty cache."""
    files = {path.name: path.read_bytes() for path in tiny_folder("gpt2").iterdir()}
    with local_hub() as hub:
        hub.add(TINY, {**files, "pytorch_model.bin": b"evil", "modeling.py": b"evil", "onnx/model.json": b"{}"})
        hub.add("gated/model", files, gated="manual")
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        yield hub


def change(hub: LocalHub, **files: bytes | None) -> None:
    """Commit changed files to `main`; None removes one."""
    repository = hub.repositories[TINY]
    present = {name: file.content for name, file in repository.history[repository.main].items()}
    repository.commit({name: content for name, content in {**present, **files}.items() if content is not None})


def reference(tmp_path: Path, hub_id: str = TINY, revision: str = "main") -> Path:
    write_source(tmp_path / "model", Source(hub_id, revision))
    return tmp_path / "model"


def test_a_model_of_the_hub_is_fetched_once_without_pickles_and_code(hub: LocalHub, tmp_path: Path) -> None:
    folder = reference(tmp_path)
    weights = weights_folder(folder)
    repository = hub.repositories[TINY]
    assert weights.name == repository.main
    assert {path.name for path in weights.rglob("*")} == set(repository.history[repository.main]) - {
        "pytorch_model.bin",
        "modeling.py",
        "onnx/model.json",
    }
    asked = len(hub.asked)
    assert not [path for path in hub.asked if "bin" in path or ".py" in path]
    assert weights_folder(folder) == weights
    assert len(hub.asked) == asked, "the cache was there and the network was asked"
    text = opened(folder, "story-completion").run([{"text": "Once"}], {"max_new_tokens": 3})[0]["completion"]
    assert isinstance(text, str)


def test_the_cache_serves_when_the_hub_is_gone(hub: LocalHub, tmp_path: Path) -> None:
    weights = weights_folder(reference(tmp_path))
    hub.close()
    assert weights_folder(reference(tmp_path)) == weights
    assert weights_folder(reference(tmp_path, revision=weights.name)) == weights


def test_an_incomplete_cache_is_completed(hub: LocalHub, tmp_path: Path) -> None:
    weights = weights_folder(reference(tmp_path))
    (weights / "model.safetensors").unlink()
    assert (weights_folder(reference(tmp_path)) / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("hub_id", "revision", "words"),
    [
        ("gated/model", "main", "gated/model is gated: accept its terms"),
        ("nobody/nothing", "main", "nobody/nothing is not on the Hub, or is private"),
        ("someone/tiny", "v9", "someone/tiny has no revision v9"),
    ],
)
def test_what_the_hub_does_not_give_is_said(
    hub: LocalHub, tmp_path: Path, hub_id: str, revision: str, words: str
) -> None:
    with pytest.raises(ModelFolderError) as error:
        weights_folder(reference(tmp_path, hub_id, revision))
    assert sentence(error).startswith(words)


@pytest.mark.parametrize("name", ["weights.txt", "../out.safetensors"])
def test_an_index_of_the_hub_that_names_a_pickle_or_a_file_elsewhere_is_refused(
    hub: LocalHub, tmp_path: Path, name: str
) -> None:
    weights = hub.repositories[TINY].content("model.safetensors")
    index = json.dumps({"metadata": {}, "weight_map": {"a": name}}).encode()
    changed = {"weights.txt": weights, "other.safetensors": weights, "model.safetensors.index.json": index}
    change(hub, **{**changed, "model.safetensors": None})
    with pytest.raises(ModelFolderError, match=f"index.json names '{name}'; valid: "):
        opened(reference(tmp_path), "story-completion")


@pytest.mark.parametrize("name", ["adapter_model.bin", "../x.safetensors"])
def test_a_config_of_the_hub_that_names_other_weights_is_refused(hub: LocalHub, tmp_path: Path, name: str) -> None:
    config = json.loads(hub.repositories[TINY].content("config.json"))
    change(hub, **{"config.json": json.dumps({**config, "transformers_weights": name}).encode()})
    folder = weights_folder(reference(tmp_path))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))  # another program fetched it
    with pytest.raises(ModelFolderError, match=f"names weights elsewhere: '{name}'"):
        opened(tmp_path / "model", "story-completion")
    assert not (tmp_path / "ran").exists()


def test_without_network_and_cache_it_says_so(hub: LocalHub, tmp_path: Path) -> None:
    hub.close()
    with pytest.raises(ModelFolderError) as error:
        weights_folder(reference(tmp_path))
    assert sentence(error) == "someone/tiny is not in the local cache, and the Hub cannot be reached"


@pytest.mark.hub
def test_a_real_model_of_the_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.environ.get("PROJECT_DL_HUB") != "1":
        pytest.skip("PROJECT_DL_HUB=1 does not say that the Hugging Face Hub can be reached")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = reference(tmp_path, "distilbert/distilgpt2")
    row = opened(folder, "next-word-prediction").run([{"text": "The capital of France is the city of"}])[0]
    assert len(row["candidates"]) == 5 and row["candidates"][0]["probability"] > 0.01


@pytest.mark.parametrize(
    ("hub_id", "revision", "field"),
    [
        ("../../etc", "main", "hub_id"),
        ("a/../b", "main", "hub_id"),
        ("/etc/passwd", "main", "hub_id"),
        ("a/b/c", "main", "hub_id"),
        ("a/..", "main", "hub_id"),
        ("a/b", "x/../../y", "revision"),
        ("", "main", "hub_id"),
        ("a b", "main", "hub_id"),
        (3, "main", "hub_id"),
        ("a/b\n", "main", "hub_id"),
        ("a/b", "../../refs", "revision"),
        ("a/b", "/main", "revision"),
        ("a/b", "", "revision"),
        ("a/b", None, "revision"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(hub_id: Any, revision: Any, field: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=f"{field} is "):
        Source(hub_id, revision)
    (tmp_path / "source.json").write_text(json.dumps({"hub_id": hub_id, "revision": revision}))
    with pytest.raises(ModelFolderError, match=field):
        weights_folder(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "3", "{}", '{"hub_id": "a/b"}', "[" * 100_000, '{"hub_id": ' * 100_000],
    ids=lambda content: str(content)[:20],
)
def test_a_source_that_names_nothing_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"source\.json does not name a hub_id and a revision"):
        weights_folder(tmp_path)


def test_memory_counts_shared_weights_once() -> None:
    first, second = nn.Linear(10, 20, bias=False), nn.Linear(10, 20, bias=False)
    assert memory_bytes(first) == 800
    assert memory_bytes(first, second) == 1600
    second.weight = first.weight
    assert memory_bytes(first, second) == 800
    assert memory_bytes(nn.BatchNorm1d(5)) == 4 * 5 * 4 + 8
    assert memory_bytes() == 0


def test_a_task_knows_its_memory_once_it_is_loaded(tiny_task: Callable[..., Any], tmp_path: Path) -> None:
    task = tiny_task("story-completion", "gpt2")
    assert task.memory_bytes() == sum(parameter.nbytes for parameter in task.engine.model.parameters())
    assert type(task)(tmp_path, "not loaded").memory_bytes() == 0


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type == resolve_device("auto") in ("cpu", "cuda", "mps")
    for name in ("tpu", "", "cuda:0", *([] if torch.cuda.is_available() else ["cuda"])):
        with pytest.raises(ValueError, match=f"device is '{name}'; valid on this machine: auto, cpu"):
            pick_device(name)


def test_every_task_and_training_chooses_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == resolve_device("auto") == "mps"
    root = Path(__file__).parents[3]
    files = [path for folder in ("tasks", "experiments") for path in (root / folder).rglob("*.py")]
    asks = [path for path in files if "mps.is_available()" in path.read_text(encoding="utf-8")]
    assert [path.name for path in asks] == ["devices.py"]


def test_half_precision_is_for_gpus() -> None:
    assert pick_dtype(CPU, wide_range=True) == pick_dtype(CPU, wide_range=False) == torch.float32
    assert pick_dtype(torch.device("mps"), wide_range=False) == torch.float16
    assert pick_dtype(torch.device("mps"), wide_range=True) == torch.bfloat16
